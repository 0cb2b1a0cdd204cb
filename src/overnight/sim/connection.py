"""HTTP/1.1 for the server side: one connection, its requests answered in order."""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol, cast

import httptools
import msgspec

from overnight.domain.errors import CallerFault, InvalidRequest, LimitExceeded
from overnight.sim.batch import Sequence
from overnight.sim.faults import CUT, RESET, SLOW, SLOW_BYTES_PER_SECOND
from overnight.sim.replies import Answer

MAX_BODY_BYTES = 64 << 20
MAX_WAITING = 256
"""Pipelined requests parsed but not begun; beyond them the socket is not read."""


class Request(msgspec.Struct, frozen=True, gc=False):
    method: bytes
    target: bytes
    body: bytes
    keep_alive: bool
    fault: CallerFault | None = None
    """Why the body is not there: what came was not HTTP, or was too much."""


class Reply(msgspec.Struct, frozen=True, gc=False):
    data: bytes
    """Head and body."""
    status: int
    delay_seconds: float = 0.0
    digest: int | None = None
    """Of the body, when an inference endpoint was asked."""
    answer: Answer | None = None
    sequence: Sequence | None = None
    """What the batch has to do first; it knows the delay."""
    fault: str | None = None
    """How the reply is to be spoilt on its way."""


class Handler(Protocol):
    """What a connection asks for replies."""

    connections: set["Connection"]

    def reply_to(self, request: Request) -> Reply: ...

    def work(self, sequence: Sequence, done: Callable[[], None]) -> None:
        """Call `done` when the batch has done it."""
        ...

    def ended(self, reply: Reply, *, sent: bool) -> None:
        """The reply was written, or its client went away first, or never got it whole."""
        ...


class Connection(asyncio.Protocol):
    """A client that closes its side is gone, as for other engines: nothing more is answered."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._current: Reply | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writable = True
        self._reading = True
        self._no_more = False
        """Nothing that arrives from now on is looked at."""
        self.on_message_begin()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._handler.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._no_more:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # refused when its head was complete
        except httptools.HttpParserError as error:
            if not self._no_more:  # else it is about what follows the last request
                self._no_more = True
                fault = InvalidRequest(f"This is not HTTP/1.1: {error}.", code="invalid_http")
                self._waiting.append(Request(b"", b"", b"", keep_alive=False, fault=fault))
        self._work()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._work()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's name
        self._handler.connections.discard(self)
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._current is not None:
            self._handler.ended(self._current, sent=False)
            self._current = None

    def abort(self) -> None:
        self._transport.abort()

    # httptools

    def on_message_begin(self) -> None:
        self._target = b""
        self._pieces: list[bytes] = []
        self._size = 0
        self._expects_continue = False

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == 6 and name.lower() == b"expect":
            self._expects_continue = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        if self._expects_continue and self._current is None and not self._waiting:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size <= MAX_BODY_BYTES:
            self._pieces.append(body)
        else:
            self._pieces.clear()  # the rest is read and thrown away, then refused

    def on_message_complete(self) -> None:
        if self._no_more:
            return
        parser = self._parser
        fault = self._fault()
        keep_alive = (
            parser.should_keep_alive()
            and parser.get_http_version() != "1.0"
            and not parser.should_upgrade()
        )
        self._no_more = not keep_alive
        body = b"".join(self._pieces)
        self._waiting.append(Request(parser.get_method(), self._target, body, keep_alive, fault))

    def _fault(self) -> CallerFault | None:
        if self._parser.should_upgrade():  # the parser leaves the body alone, if there is one
            return InvalidRequest(
                "Only HTTP/1.1 is spoken here: leave `Upgrade` and CONNECT out.",
                code="invalid_http",
            )
        if self._size > MAX_BODY_BYTES:
            return LimitExceeded(
                f"A body may have {MAX_BODY_BYTES} bytes, this one has {self._size}.",
                code="body_too_large",
            )
        return None

    # Answering

    def _work(self) -> None:
        """Answer what waits, as far as it may be answered now; one write for all of it."""
        replies = []
        while self._waiting and self._current is None and self._writable:
            reply = self._handler.reply_to(self._waiting.popleft())
            if reply.sequence is not None:
                self._current = reply
                self._handler.work(reply.sequence, partial(self._finish, reply))
            elif reply.delay_seconds > 0 or reply.fault is not None:
                self._current = reply
                self._timer = self._loop.call_later(reply.delay_seconds, self._finish, reply)
            else:
                replies.append(reply)
        if replies:
            self._send(replies)
        self._pace()

    def _finish(self, reply: Reply) -> None:
        if self._current is not reply:
            return  # its client went away as it was done
        self._timer = None
        if reply.fault is None:
            self._current = None
            self._send([reply])
            self._work()
        elif reply.fault == SLOW:
            self._trickle(reply, 0)
        elif reply.fault == CUT:
            self._no_more = True
            body = reply.data.index(b"\r\n\r\n") + 4
            self._transport.write(reply.data[: (body + len(reply.data)) // 2])
            self._transport.close()
        elif reply.fault == RESET:
            self._reset()
        # A reply that hangs stays the current one until its client has enough.

    def _trickle(self, reply: Reply, start: int) -> None:
        self._transport.write(reply.data[start : start + 1])
        if start + 1 < len(reply.data):
            pause = 1 / SLOW_BYTES_PER_SECOND
            self._timer = self._loop.call_later(pause, self._trickle, reply, start + 1)
            return
        self._current = self._timer = None
        self._handler.ended(reply, sent=True)
        self._work()

    def _reset(self) -> None:
        """Closing without lingering makes it an RST; on other than TCP it is a mere end."""
        connected = self._transport.get_extra_info("socket")
        with suppress(OSError):
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _send(self, replies: list[Reply]) -> None:
        self._transport.write(b"".join([reply.data for reply in replies]))
        for reply in replies:
            self._handler.ended(reply, sent=True)

    def _pace(self) -> None:
        """Close when all is said; stop reading while too much waits."""
        if self._no_more:
            if self._current is None and not self._waiting:
                self._transport.close()
        elif self._reading != (len(self._waiting) < MAX_WAITING):
            self._reading = not self._reading
            (self._transport.resume_reading if self._reading else self._transport.pause_reading)()
