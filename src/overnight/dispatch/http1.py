"""An HTTP/1.1 client connection that sends one request at a time, over and over.

It knows what RFC 9112 demands of a client: chunked bodies, bodies that end with the connection,
1xx replies, HTTP/1.0, `Connection: close`. It does not follow redirects, refuses content coding
and keeps no cookies.

There is no task, timer, lock or future per request: the caller is called back, deadlines are a
field that `sweep` looks at for all connections together.
"""

import asyncio
import math
import re
import ssl
from collections.abc import Callable
from typing import Final, cast

import httptools
import msgspec

from overnight.dispatch.inflow import COUNTED_FROM_BYTES, Inflow
from overnight.dispatch.target import Target
from overnight.domain.request import Failure, FailureKind
from overnight.domain.unix_url import socket_trouble
from overnight.seams import Connect

HEAD_BYTES_MAX: Final = 64 * 1024
"""Of headers, and of anything else without a byte of the body in it: chunk extensions, trailers."""
_FRAMED: Final = re.compile(rb"\n(?:content-length|transfer-encoding)[ \t]*:", re.IGNORECASE)


class Timeouts(msgspec.Struct, frozen=True):
    connect_seconds: float = 10.0
    first_byte_seconds: float = 600.0
    """From sending a request to the first byte of its reply: a long answer is thought out first."""
    idle_seconds: float = 60.0
    """Between two pieces of one reply."""
    reply_seconds: float = 600.0
    """After `first_byte_seconds`, for all the rest of a reply, however steadily it drips."""


class Reply(msgspec.Struct, gc=False):
    """A whole reply; `body` is as it came, never decoded.

    The parser could hand over header by header, but each would cost a call, and of most replies
    we want one. So `head` is kept as it came, and may go on into the body.
    """

    status: int
    body: bytes
    head: bytes = b""

    @property
    def request_id(self) -> bytes:
        return _value(_REQUEST_ID, self.head)

    @property
    def retry_after(self) -> bytes:
        return _value(_RETRY_AFTER, self.head)

    @property
    def coding(self) -> bytes:
        return _value(_CODING, self.head)


def _header(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"\n%b:[ \t]*([^\r\n]*)" % name, re.IGNORECASE)


_REQUEST_ID: Final = _header(b"x-request-id")
_RETRY_AFTER: Final = _header(b"retry-after")
_CODING: Final = _header(b"content-encoding")


def _value(header: re.Pattern[bytes], head: bytes) -> bytes:
    """What the header says; empty when it is not there."""
    found = _found(header, head)
    return found[1].rstrip() if found else b""


def _found(header: re.Pattern[bytes], head: bytes) -> re.Match[bytes] | None:
    """Among the headers alone: a body may hold the same words."""
    end = head.find(b"\r\n\r\n")
    return header.search(head, 0, end if end >= 0 else len(head))


class Stale(msgspec.Struct, frozen=True):
    """The server had closed the idle connection; it read nothing of ours: send again elsewhere."""


Answer = Reply | Failure | Stale

Take = Callable[[Answer], None]
"""What is called, once, with what came of a request; it may begin the next one at once."""


class _UnaskedError(Exception):
    """A second reply: it must not be taken for the next request's. Stops the parser."""


class Connection(asyncio.Protocol):
    """One connection; the next request may begin once the one before has been answered."""

    __slots__ = (
        "_answer_by", "_body", "_body_bytes", "_body_bytes_before", "_complete", "_deadline",
        "_head", "_headers_done", "_inflow", "_interims", "_is_long", "_keep", "_loop", "_more",
        "_overhead_bytes", "_parser", "_paused_at", "_reply_bytes_max", "_take", "_timeouts",
        "_transport", "_used", "closed",
    )  # fmt: skip

    def __init__(
        self, timeouts: Timeouts, reply_bytes_max: int, inflow: Inflow | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeouts = timeouts
        self._reply_bytes_max = reply_bytes_max
        self._inflow = inflow or Inflow(reply_bytes_max)
        self._is_long = False
        self._paused_at: float | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._take: Take | None = None
        self._deadline = 0.0
        self._body_bytes_before = self._overhead_bytes = 0
        self._used = False
        self._keep = False
        self.closed = True
        self._clear()

    def _clear(self) -> None:
        self._body = b""
        self._more: list[bytes] | None = None
        self._body_bytes = 0
        self._answer_by = 0.0
        self._head = b""
        """All pieces up to the one in which the head ended."""
        self._headers_done = False
        self._complete = False
        self._interims = 0

    def begin(self, request: bytes, first_byte_seconds: float, take: Take) -> None:
        """Write a whole request; `take` is called with what came of it, never from in here."""
        loop = self._loop
        if self.closed or self._transport is None:
            loop.call_soon(take, Stale())
            return
        self._take = take
        self._deadline = loop.time() + first_byte_seconds
        self._transport.write(request)

    def send(self, request: bytes, first_byte_seconds: float) -> asyncio.Future[Answer]:
        """As `begin`, for those who rather wait; the future never raises."""
        answered: asyncio.Future[Answer] = self._loop.create_future()

        def take(answer: Answer) -> None:
            if not answered.done():
                answered.set_result(answer)

        self.begin(request, first_byte_seconds, take)
        return answered

    def sweep(self, now: float) -> None:
        """End the exchange if its time is up; `now` is the loop's time."""
        if self._take is not None and now > self._deadline:
            part = "the rest of the reply" if self._answer_by else "the reply"
            self.end(Failure(FailureKind.TIMEOUT, f"The upstream did not send {part} in time."))

    def end(self, answer: Answer) -> None:
        """Give up on the exchange under way, if any, and close."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()
        self._settle(answer)

    def pause(self) -> None:
        """Read no further for now; that costs the server none of its time."""
        self._paused_at = self._loop.time()
        self._deadline = math.inf
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused_at is None:
            return
        now = self._loop.time()
        self._answer_by += now - self._paused_at
        self._deadline = now + self._timeouts.idle_seconds
        self._paused_at = None
        if self._transport is not None and not self.closed:
            self._transport.resume_reading()

    def _leave_inflow(self) -> None:
        self._is_long = False
        self.resume()
        self._inflow.ended(self)

    def _settle(self, answer: Answer) -> None:
        if self._is_long:
            self._leave_inflow()
        take, self._take = self._take, None
        if take is not None:
            take(answer)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self.closed = False

    def data_received(self, data: bytes) -> None:
        if self._take is None:
            # Nothing was asked: a server that says goodbye (408), or nonsense.
            self.end(Stale())
            return
        if not self._headers_done:
            self._head += data
        problem = ""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            problem = "The upstream switched to another protocol."
        except httptools.HttpParserError as error:
            problem = f"The upstream does not answer in HTTP/1.1: {error}."
        if self._complete:
            # Only now, for what else is in `data` must not meet the next request.
            self._finish(keep=self._keep and not problem)
        elif problem:
            self.end(_bad_reply(problem))
        elif self._take is not None:
            self._check_unfinished(len(data))

    def _check_unfinished(self, size: int) -> None:
        """See to time and room after a piece of that many bytes that did not end the reply."""
        if not self._answer_by:
            self._answer_by = self._deadline
            self._body_bytes_before = self._overhead_bytes = 0
        if self._headers_done or not self._interims:
            timeouts = self._timeouts
            self._deadline = min(
                self._loop.time() + timeouts.idle_seconds, self._answer_by + timeouts.reply_seconds
            )
        else:
            # «102 Processing» is no answer: after it, the time for the first byte still runs.
            self._deadline = self._answer_by
        self._overhead_bytes += size
        if self._body_bytes > self._body_bytes_before:
            self._body_bytes_before = self._body_bytes
            self._overhead_bytes = 0
        if self._overhead_bytes > HEAD_BYTES_MAX:
            self.end(
                _bad_reply(f"The upstream sent {HEAD_BYTES_MAX:,} bytes of headers or trailers.")
            )
        elif self._body_bytes > self._reply_bytes_max:
            self.end(self._too_large())
        elif self._body_bytes > COUNTED_FROM_BYTES:
            self._is_long = True
            self._inflow.grew(self, self._body_bytes)

    def _too_large(self) -> Failure:
        limit = f"The upstream answered with more than {self._reply_bytes_max:,} bytes."
        return Failure(FailureKind.TOO_LARGE, limit)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._take is None:
            return
        is_final = self._headers_done and self._parser.get_status_code() >= 200
        if is_final and exc is None and not _found(_FRAMED, self._last_head()):
            # RFC 9112 §6.3 rule 8: without a length, the body ends with the connection.
            self._finish(keep=False)
        elif self._used and not self._answer_by:
            self._settle(Stale())
        else:
            part = "within its reply" if self._answer_by else "without a reply"
            self._settle(Failure(FailureKind.RESET, f"The upstream closed the connection {part}."))

    # httptools callbacks

    def on_message_begin(self) -> None:
        if self._complete:
            raise _UnaskedError

    def on_headers_complete(self) -> None:
        self._headers_done = True
        if self._parser.get_status_code() < 100:
            self.end(_bad_reply("The status of the reply is none that HTTP has."))

    def on_body(self, data: bytes) -> None:
        # Nearly always the body comes in one piece.
        if not self._body_bytes:
            self._body = data
        elif self._more is None:
            self._more = [self._body, data]
        else:
            self._more.append(data)
        self._body_bytes += len(data)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= 200:
            self._complete = True
            self._keep = self._parser.should_keep_alive() and self._all_sent()
        else:
            answer_by, head, interims = self._answer_by, self._head, self._interims
            self._clear()
            self._answer_by, self._head, self._interims = answer_by, head, interims + 1

    def _all_sent(self) -> bool:
        """A server that answered before it was told all may take the rest for a new request."""
        return self._transport is not None and not self._transport.get_write_buffer_size()

    def _last_head(self) -> bytes:
        """The head without those of interim replies."""
        return self._head.split(b"\r\n\r\n", self._interims)[-1] if self._interims else self._head

    def _finish(self, keep: bool) -> None:
        if self._body_bytes > self._reply_bytes_max:
            self.end(self._too_large())
            return
        body = self._body if self._more is None else b"".join(self._more)
        reply = Reply(self._parser.get_status_code(), body, self._last_head())
        self._used = True
        self._clear()
        if not keep:
            self.closed = True
            if self._transport is not None:
                self._transport.abort()
        self._settle(reply)


def _bad_reply(detail: str) -> Failure:
    return Failure(FailureKind.BAD_REPLY, detail)


async def open_connection(
    target: Target,
    connect: Connect,
    timeouts: Timeouts,
    reply_bytes_max: int,
    inflow: Inflow | None = None,
) -> Connection | Failure:
    """Connect to a target; what goes wrong is a `Failure` that says it in a few words."""
    connection = Connection(timeouts, reply_bytes_max, inflow)
    try:
        async with asyncio.timeout(timeouts.connect_seconds):
            host = target.address or target.host
            await connect(
                lambda: connection, host, target.port, target.tls, target.host, target.socket_path
            )
    except TimeoutError:
        return Failure(
            FailureKind.CONNECT,
            f"accepts no connection within {timeouts.connect_seconds:g} s",
        )
    except ConnectionRefusedError:
        return Failure(FailureKind.CONNECT, "refuses connections")
    except ssl.SSLCertVerificationError as error:
        return Failure(FailureKind.CONNECT, f"fails TLS: {error.verify_message.rstrip('.')}")
    except ssl.SSLError as error:
        return Failure(FailureKind.CONNECT, f"fails TLS: {error.reason or error}")
    except OSError as error:
        reason = f"can not be reached: {error.strerror or error}"
        if target.socket_path is not None:
            reason = socket_trouble(error.errno) or reason
        return Failure(FailureKind.CONNECT, reason)
    return connection
