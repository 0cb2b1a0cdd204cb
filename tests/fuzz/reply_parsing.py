"""The HTTP client of the hot path, fed bytes in any pieces: what comes of it does not depend on
where they are cut, and nothing of one reply gets into the next."""

import asyncio
from typing import Final

from fuzz.target import Target, pieces
from overnight.dispatch.http1 import HEAD_BYTES_MAX, Answer, Connection, Reply, Stale, Timeouts
from overnight.domain.request import Failure, FailureKind

BODY_BYTES_MAX: Final = 600
_LOOP: Final = asyncio.new_event_loop()


class _Wire(asyncio.Transport):
    """Takes requests and forgets them."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.aborted, "a request is sent on a connection that was given up"

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.aborted = True


def check(data: bytes) -> None:
    sizes, first, second = _parts(data)
    _LOOP.run_until_complete(_check(sizes, first, second))


def _parts(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Four bytes that tell the pieces, one reply, and behind a NUL another."""
    first, _, second = data[4:].partition(b"\0")
    return data[:4], first, second


async def _check(sizes: bytes, first: bytes, second: bytes) -> None:
    whole, _ = _exchange(_connection(), pieces(first, b""))
    cut, connection = _exchange(_connection(), pieces(first, sizes))
    assert _told(whole) == _told(cut), f"whole {whole}, in pieces {cut}"
    if connection.closed or not isinstance(cut, Reply):
        return
    again, _ = _exchange(connection, pieces(second, sizes))
    fresh, _ = _exchange(_connection(), pieces(second, b""))
    # A connection that was used before and is closed without a word is no failure.
    left = not second and isinstance(again, Stale)
    assert left or _told(again) == _told(fresh), f"{again}, not {fresh}"


def _told(answer: Answer) -> object:
    """What is read of an answer; a head is kept with what came along behind it.

    Of a reply that is too long, broken and cut off, any of the three may be seen first.
    """
    if isinstance(answer, Reply):
        return answer.status, answer.body, answer.request_id, answer.retry_after, answer.coding
    return FailureKind if isinstance(answer, Failure) else answer


def _connection() -> Connection:
    connection = Connection(Timeouts(), BODY_BYTES_MAX)
    connection.connection_made(_Wire())
    return connection


def _exchange(connection: Connection, received: list[bytes]) -> tuple[Answer, Connection]:
    """What a request is answered when the server sends these bytes and closes."""
    future = connection.send(b"POST", 60.0)
    for piece in received:
        if connection.closed or future.done():
            break
        connection.data_received(piece)
        held = connection._body_bytes + connection._overhead_bytes
        assert held <= HEAD_BYTES_MAX + BODY_BYTES_MAX + len(piece), "more is held than allowed"
    if not future.done():
        connection.connection_lost(None)
    assert future.done(), "the end of the connection is no answer"
    answer = future.result()
    _judge(answer)
    return answer, connection


def _judge(answer: Answer) -> None:
    if isinstance(answer, Reply):
        assert 200 <= answer.status <= 999, answer
        assert len(answer.body) <= BODY_BYTES_MAX, f"a body of {len(answer.body)} bytes is taken"
    elif isinstance(answer, Failure):
        assert isinstance(answer.kind, FailureKind)
        assert answer.detail


TARGET: Final = Target(
    "reply_parsing",
    check,
    words=(
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n",
        b"HTTP/1.1 204 No Content\r\n",
        b"HTTP/1.1 304 Not Modified\r\n",
        b"content-length: ",
        b"transfer-encoding: chunked\r\n",
        b"transfer-encoding: gzip, chunked\r\n",
        b"connection: close\r\n",
        b"connection: upgrade\r\nupgrade: h2c\r\n",
        b"x-request-id: a\r\n",
        b"retry-after: 1\r\n",
        b"\r\n\r\n",
        b"7\r\n",
        b"0\r\n\r\n",
        b"0\r\nx-trailer: 1\r\n\r\n",
        b'{"a":1}',
    ),
)
