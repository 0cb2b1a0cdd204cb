"""A shard being worked on: hands out its requests, takes their outcomes, knows when it is done."""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import msgspec

from overnight.dispatch.segment import SegmentIndex, SegmentWriter
from overnight.domain.job import Counts
from overnight.domain.plan import RecordFields
from overnight.domain.request import Failure, FailureKind, OutcomeKind, Success
from overnight.domain.result_line import failure_line, line_prefix, success_line

_LINE_NUMBER: Final = 4
"""Its place among the fields of a record."""

LONE_DEATHS_MAX: Final = 2
"""Workers that may die while a request alone is in flight, before it fails as `worker_lost`."""


class Request(msgspec.Struct, gc=False):
    """One request on its way. `custom_id` is a JSON string, `body` the JSON to send."""

    shard: "OpenShard"
    line_number: int
    custom_id: bytes
    body: bytes
    attempts: int = 0
    """Charged attempts so far."""
    vain_probes: int = 0
    """How often it was sent in vain to find out whether an upstream is well again."""


class ShardOrder(msgspec.Struct, frozen=True):
    """What the dispatcher needs to know to work on a shard."""

    job_id: str
    ordinal: int
    epoch: int
    model: str
    endpoint: str
    one_by_one: bool = False
    """Its workers keep dying: send its requests with nothing else in flight."""

    @property
    def job_hex(self) -> str:
        return self.job_id.rpartition("_")[2]


class Window(Protocol):
    """The shard's part of the input file, from byte `start` on, and its records."""

    @property
    def data(self) -> bytes: ...

    @property
    def start(self) -> int: ...

    @property
    def records(self) -> Sequence[RecordFields]: ...


class OpenShard:
    """Requests are in one of three places: not yet handed out, out, or in the segment."""

    __slots__ = (
        "_data", "_prefix", "_start", "completion_tokens", "failed", "lacking", "order",
        "prompt_tokens", "requests", "retries", "stopped", "succeeded", "unsent", "writer",
    )  # fmt: skip

    def __init__(
        self, order: ShardOrder, window: Window, writer: SegmentWriter, index: SegmentIndex
    ) -> None:
        self.order = order
        self._data = window.data
        self._start = window.start
        self.writer = writer
        self._prefix = line_prefix(order.job_hex)
        done = index.outcomes
        todo = (
            [r for r in window.records if r[_LINE_NUMBER] not in done] if done else window.records
        )
        self.requests = self._each_request(todo)
        self.unsent = len(todo)
        self.lacking = len(todo)
        """Requests without an outcome."""
        self.stopped = False
        """No more of its requests are to be sent, and none that fails is to be sent again."""
        before = index.counts
        self.succeeded, self.failed = before.succeeded, before.failed
        self.prompt_tokens = before.prompt_tokens
        self.completion_tokens = before.completion_tokens
        self.retries = before.retries
        deadly = {line for line, deaths in index.lone_sendings.items() if deaths >= LONE_DEATHS_MAX}
        if deadly:
            self._bury([record for record in todo if record[_LINE_NUMBER] in deadly])
            todo = [record for record in todo if record[_LINE_NUMBER] not in deadly]
            self.requests = self._each_request(todo)

    def _bury(self, records: Sequence[RecordFields]) -> None:
        detail = f"{LONE_DEATHS_MAX} workers died while this request alone was in flight."
        for request in self._each_request(records):
            self.fail(request, Failure(FailureKind.WORKER_LOST, detail))

    @property
    def counts(self) -> Counts:
        return Counts(
            self.succeeded,
            self.failed,
            self.prompt_tokens,
            self.completion_tokens,
            self.retries,
        )

    @property
    def segment_bytes(self) -> int:
        return self.writer.size

    @property
    def segment_digest(self) -> int:
        return self.writer.digest

    def take(self) -> Request | None:
        """The next request not yet handed out; None when there is none or it is stopped."""
        return next(self.requests, None)

    def _each_request(self, records: Sequence[RecordFields]) -> Iterator[Request]:
        data, start = self._data, self._start
        for line, _, body_offset, body_bytes, number, id_offset, id_bytes in records:
            body = line + body_offset - start
            token = line + id_offset - start
            self.unsent -= 1
            yield Request(
                self, number, data[token : token + id_bytes], data[body : body + body_bytes]
            )

    def succeed(self, request: Request, outcome: Success) -> None:
        number = request.line_number
        line = success_line(self._prefix, number, request.custom_id, outcome)
        prompt, completion = outcome.prompt_tokens, outcome.completion_tokens
        self.writer.add(number, 0, line, prompt, completion)
        self.succeeded += 1
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        self.lacking -= 1

    def fail(self, request: Request, failure: Failure) -> None:
        line = failure_line(self._prefix, request.line_number, request.custom_id, failure)
        self.writer.add(request.line_number, OutcomeKind.FAILURE, line, 0, 0)
        self.failed += 1
        self.lacking -= 1

    def stop(self) -> None:
        """Send no more; what is out may still come back."""
        self.stopped = True
        self.requests = iter(())
        self.lacking -= self.unsent
        self.unsent = 0

    def forgo(self) -> None:
        """One request that was out comes back without an outcome, and that is final."""
        self.lacking -= 1

    def announce(self, request: Request) -> None:
        """Write at once that a request is about to be sent alone. Raises `OSError`."""
        self.writer.note(request.line_number, OutcomeKind.ALONE)

    def spare(self, request: Request) -> None:
        """Note, for the next flush, that a request that was announced did its worker no harm."""
        self.writer.add(request.line_number, OutcomeKind.SPARED, b"", 0, 0)

    def retry(self, request: Request) -> None:
        """Note, for the next flush, that a request was sent in vain and will be sent again."""
        self.writer.add(request.line_number, OutcomeKind.RETRY, b"", 0, 0)
        self.retries += 1

    def flush(self) -> None:
        self.writer.flush()

    @property
    def pending(self) -> bool:
        """Are there outcomes not yet flushed?"""
        return self.writer.pending

    @property
    def unsynced(self) -> bool:
        return self.writer.size != self.writer.synced_size

    def sync(self) -> None:
        """Blocks; call it in a thread."""
        self.writer.sync()

    def close(self) -> None:
        self.writer.close()
