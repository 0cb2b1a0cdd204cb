"""Users who do not give up: they say everything again until they hear that it was done."""

import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar
from uuid import UUID

from overnight.client.client import Client, Retries, Server
from overnight.client.dialect import NewJob
from overnight.client.errors import ClientError, Refused, Unreachable
from overnight.client.openai import OpenAiDialect
from overnight.client.together import TogetherDialect
from overnight.client.transport import Transport
from overnight.client.views import JobView
from support.batches import ENDPOINT, input_file

Spelling = Literal["openai", "together"]
T = TypeVar("T")

PATIENCE_SECONDS = 240.0
STANDSTILL_SECONDS_MAX = 90.0
"""Of a job, through any number of restarts on a machine that is busy."""
LATER = frozenset({429, 502, 503, 504})
"""What a client may answer by asking again."""

_DIALECTS = {"openai": OpenAiDialect(), "together": TogetherDialect()}


@dataclass(slots=True)
class Order:
    """One job as its user wants it, and what the user got."""

    name: str
    requests: int
    spelling: Spelling
    key: str
    """The `Idempotency-Key` of its creation."""
    cancel_after: int | None = None
    """Cancelled once so many of its requests are done."""
    padding: int = 0
    cancelled: bool = False
    job: JobView | None = None
    output: bytes = b""
    errors: bytes = b""

    @property
    def ids(self) -> list[str]:
        return [f"{self.name} {number}" for number in range(self.requests)]


def order(chance: random.Random, name: str, requests: int, *, may_cancel: bool = True) -> Order:
    cancels = may_cancel and chance.random() < 0.25
    return Order(
        name,
        requests,
        chance.choice(("openai", "together")),
        str(UUID(int=chance.getrandbits(128))),
        cancel_after=chance.randrange(requests) if cancels else None,
        padding=chance.choice((0, 0, 2_000)),
    )


@dataclass(slots=True)
class User:
    """Carries out orders, one after another, in a thread."""

    base_url: str
    folder: Path
    orders: list[Order]
    told_to_wait: int = 0
    """Answers and silences that made it ask again."""
    failure: BaseException | None = None
    _thread: threading.Thread | None = None
    _until: float = 0.0
    _retries: Retries = field(default_factory=lambda: Retries(attempts=1))

    def start(self) -> None:
        self._until = time.monotonic() + PATIENCE_SECONDS
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        return self._thread is not None and not self._thread.is_alive()

    def join(self) -> None:
        """Until all orders are carried out; raises what kept it from that."""
        assert self._thread is not None
        self._thread.join(PATIENCE_SECONDS + 30)
        assert not self._thread.is_alive(), "a user waits for ever"
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            for one in self.orders:
                self._carry_out(one)
        except (AssertionError, ClientError, OSError) as error:
            self.failure = error

    def _carry_out(self, one: Order) -> None:
        path = self.folder / f"{one.name}.jsonl"
        path.write_bytes(input_file(one.ids, padding=one.padding))
        with Client(Server(self.base_url, None, one.spelling), self._retries) as client:
            file_id = self._until_done(lambda: client.upload(path).id)
            job_id = self._create(one, file_id)
            job = self._wait(client, one, job_id)
            one.job = job
            one.output = self._download(client, job.output_file_id, path.with_suffix(".out"))
            one.errors = self._download(client, job.error_file_id, path.with_suffix(".err"))

    def _create(self, one: Order, file_id: str) -> str:
        """As often as it takes, and once more: it is one job."""
        server = Server(self.base_url, None, one.spelling)
        transport = Transport.to(server, self._retries)
        wish = NewJob(file_id, ENDPOINT, "24h", {}, one.key)
        try:
            made = [
                self._until_done(lambda: _DIALECTS[one.spelling].create(transport, wish).word("id"))
                for _ in range(2)
            ]
        finally:
            transport.close()
        assert made[0] is not None
        assert made[0] == made[1], f"one create made {made}"
        return made[0]

    def _wait(self, client: Client, one: Order, job_id: str) -> JobView:
        best, moved = 0.0, time.monotonic()
        while True:
            job = self._until_done(lambda: client.job(job_id))
            percent = job.percent or 0.0
            assert percent >= best, f"{job_id} fell from {best} % to {percent} %"
            if percent > best:
                best, moved = percent, time.monotonic()
            done = (job.succeeded or 0) + (job.failed or 0)
            if job.ended:
                return job
            if one.cancel_after is not None and done >= one.cancel_after and job.total:
                self._cancel(client, one, job_id)
            assert time.monotonic() < moved + STANDSTILL_SECONDS_MAX, f"{job_id} stays {job}"
            assert time.monotonic() < self._until, f"{job_id} is still {job}"
            time.sleep(0.05)

    def _cancel(self, client: Client, one: Order, job_id: str) -> None:
        if one.cancelled:
            return
        try:
            self._until_done(lambda: client.cancel(job_id))
        except Refused as refusal:
            if refusal.status != 409:
                raise
            one.cancel_after = None  # It had come to its end.
        else:
            one.cancelled = True

    def _download(self, client: Client, file_id: str | None, to: Path) -> bytes:
        if file_id is None:
            return b""
        self._until_done(lambda: client.download(file_id, to))
        return to.read_bytes()

    def _until_done(self, ask: Callable[[], T]) -> T:
        while True:
            try:
                return ask()
            except (Unreachable, Refused) as error:
                final = isinstance(error, Refused) and error.status not in LATER
                if final or time.monotonic() > self._until:
                    raise
                self.told_to_wait += 1
                time.sleep(0.05)


def lines_of(content: bytes) -> list[bytes]:
    """Each whole, and an object."""
    *lines, rest = content.split(b"\n")
    assert rest == b"", f"a file ends with {rest[:80]!r}"
    assert all(json.loads(line) for line in lines)
    return lines
