"""Clients of the batch API that never really wait."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from overnight.client.client import Client, Retries, Server


@dataclass
class Waits:
    """The waits that were asked for, in seconds, with no chance in them."""

    seconds: list[float] = field(default_factory=list)
    now: float = 1_800_000_000.0

    @property
    def retries(self) -> Retries:
        return Retries(sleep=self.seconds.append, now=lambda: self.now, jitter=lambda: 1.0)


@contextmanager
def client_of(
    base_url: str,
    dialect: Literal["auto", "openai", "together"] = "auto",
    *,
    api_key: str | None = None,
    waits: Waits | None = None,
) -> Iterator[Client]:
    with Client(Server(base_url, api_key, dialect), (waits or Waits()).retries) as client:
        yield client
