"""One request that an upstream treats badly, among many that it answers: what comes of it.

    end = treated(Raw([(0.0, b"HTTP/1.1 200 OK\\r\\n\\r\\n<html>")], close=True))
    assert (end.code, end.tries) == ("invalid_upstream_reply", 5)

All in virtual time. The others show that the upstream is otherwise sound, so that what happens is
charged to the request.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from overnight.dispatch.http1 import Timeouts
from support.dispatch_world import World
from support.fake_network import Raw, Reaction, Respond
from support.shards import result_lines
from support.virtual_time import run_virtual

BAD_LINE = 10
"""Not among the first: by then the upstream has shown that it can answer."""
REQUESTS = 60
REPLY_BYTES_MAX = 100_000
TIMEOUTS = Timeouts(connect_seconds=5, first_byte_seconds=20, idle_seconds=5, reply_seconds=30)
SECONDS_MAX = TIMEOUTS.first_byte_seconds + TIMEOUTS.reply_seconds + 1
"""The longest that one try may take."""


class Dripping(Sequence[tuple[float, bytes]]):
    """`Raw.pieces` that begin like this and never end; counts what was taken of them."""

    def __init__(self, start: bytes, piece: bytes, every_seconds: float = 0.001) -> None:
        self._start, self._piece, self._every_seconds = start, piece, every_seconds
        self.bytes_taken = 0

    def __len__(self) -> int:
        return 2**62

    @overload
    def __getitem__(self, place: int) -> tuple[float, bytes]: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[tuple[float, bytes]]: ...
    def __getitem__(self, place: int | slice) -> Any:
        assert isinstance(place, int)
        if not place:
            return 0.0, self._start
        self.bytes_taken = len(self._start) + place * len(self._piece)
        return self._every_seconds, self._piece


@dataclass(slots=True)
class End:
    line: dict[str, Any]
    """The result line of the bad request."""
    tries: int
    seconds: list[float] = field(default_factory=list)
    """When each try arrived."""
    others: int = 0
    """Successes among the other requests."""

    @property
    def code(self) -> str | None:
        error = self.line["error"]
        return None if error is None else str(error["code"])

    @property
    def message(self) -> str:
        return str((self.line["error"] or {"message": ""})["message"])


def treated(*reactions: Reaction, reply_bytes_max: int = REPLY_BYTES_MAX) -> End:
    """The n-th try of the bad request meets the n-th reaction, later ones the last."""

    async def main() -> End:
        world = World()
        engine = world.upstream(
            lambda sent: (
                reactions[min(sent.attempt, len(reactions)) - 1]
                if sent.number == BAD_LINE
                else Respond(after_seconds=1.0)
            )
        )
        async with world.dispatcher.running():
            world.lane(slots=2, timeouts=TIMEOUTS, reply_bytes_max=reply_bytes_max)
            world.open(REQUESTS)
            await world.finished(10_000)
        lines = result_lines(world.disk)
        assert len(lines) == REQUESTS
        others = [json.loads(line) for number, line in lines.items() if number != BAD_LINE]
        arrivals = [sent.at for sent in engine.received if sent.number == BAD_LINE]
        return End(
            json.loads(lines[BAD_LINE]),
            len(arrivals),
            arrivals,
            sum(line["error"] is None for line in others),
        )

    return run_virtual(main())


def said(*pieces: bytes, close: bool = False) -> Raw:
    """These bytes at once, piece by piece."""
    return Raw([(0.0, piece) for piece in pieces], close)


def answered(body: bytes, *headers: bytes, status: bytes = b"200 OK", close: bool = False) -> Raw:
    """A whole reply with its right length."""
    head = b"".join(header + b"\r\n" for header in headers)
    length = b"content-length: %d\r\n" % len(body)
    return said(b"HTTP/1.1 " + status + b"\r\n" + head + length + b"\r\n" + body, close=close)
