"""The plain way: a loop of concurrent requests straight to the engine, to measure against."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import aiohttp

from tools.engines.batch import Line


@dataclass(frozen=True)
class Pass:
    """All requests once, by whichever way."""

    requests: int
    completion_tokens: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    def __str__(self) -> str:
        return (
            f"{self.requests} requests in {self.seconds:.1f} s: {self.rate:.1f} requests/s, "
            f"{self.completion_tokens / self.seconds:,.0f} tokens/s"
        )


def drive(base_url: str, lines: Sequence[Line], in_flight: int) -> Pass:
    """Raises `aiohttp.ClientResponseError` for any answer but success."""
    return asyncio.run(_drive(f"{base_url}/chat/completions", lines, in_flight))


async def _drive(url: str, lines: Sequence[Line], in_flight: int) -> Pass:
    left = iter(lines)
    connector = aiohttp.TCPConnector(limit=in_flight)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            slots = [tasks.create_task(_slot(session, url, left)) for _ in range(in_flight)]
        seconds = time.monotonic() - began
    return Pass(len(lines), sum(slot.result() for slot in slots), seconds)


async def _slot(session: aiohttp.ClientSession, url: str, left: Iterator[Line]) -> int:
    tokens = 0
    for line in left:
        async with session.post(url, json=line["body"], raise_for_status=True) as reply:
            tokens += (await reply.json())["usage"]["completion_tokens"]
    return tokens
