"""An HTTP/1.1 client connection that sends one request at a time, over and over.

It knows what RFC 9112 demands of a client: chunked bodies, bodies that end with the connection,
1xx replies, HTTP/1.0, `Connection: close`. It does not follow redirects, refuses content coding
and keeps no cookies.

There is no task, timer or lock per request: the caller awaits one future, deadlines are a field
that `sweep` looks at for all connections together.
"""

import asyncio
import math
import ssl
from typing import Final, cast
from urllib.parse import urlsplit

import httptools
import msgspec

from overnight.dispatch.inflow import COUNTED_FROM_BYTES, Inflow
from overnight.domain.errors import ConfigurationError
from overnight.domain.request import Failure, FailureKind
from overnight.seams import Connect

HEAD_BYTES_MAX: Final = 64 * 1024
"""Of headers, and of anything else without a byte of the body in it: chunk extensions, trailers."""
_NAMED: Final = frozenset(
    len(name)
    for name in (
        b"x-request-id", b"content-length", b"retry-after", b"transfer-encoding",
        b"content-encoding",
    )
)  # fmt: skip
"""Lengths of the header names we read, so that all others cost one look."""


class Timeouts(msgspec.Struct, frozen=True):
    connect_seconds: float = 10.0
    first_byte_seconds: float = 600.0
    """From sending a request to the first byte of its reply: a long answer is thought out first."""
    idle_seconds: float = 60.0
    """Between two pieces of one reply."""
    reply_seconds: float = 600.0
    """After `first_byte_seconds`, for all the rest of a reply, however steadily it drips."""


class Target(msgspec.Struct, frozen=True):
    """Where requests go: an upstream's base URL taken apart, and the headers that go along."""

    url: str
    host: str
    port: int
    path: str
    authority: str
    tls: ssl.SSLContext | None = None
    api_key: str | None = None
    """Sent as a bearer token."""
    address: str | None = None
    """Connected to in place of `host`, which is not resolved then."""

    @classmethod
    def parse(cls, url: str, api_key: str | None = None) -> "Target":
        """Take `http://host:port/v1` apart; raises `ConfigurationError` for anything else."""
        if not _is_plain(url):
            raise ConfigurationError(
                f"upstream {url!r} is not a URL: only printable ASCII without spaces can be one"
            )
        if api_key and not _is_plain(api_key):
            raise ConfigurationError(
                f"the API key of upstream {url!r} has characters that no HTTP header can carry"
            )
        try:
            parts = urlsplit(url)
            port = parts.port
            (parts.hostname or "").encode("idna")
        except ValueError as error:
            raise ConfigurationError(f"upstream {url!r} is not a URL: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                f"upstream {url!r} is not an HTTP URL;"
                " expected something like http://127.0.0.1:8000/v1"
            )
        secure = parts.scheme == "https"
        return cls(
            url=url.rstrip("/"),
            host=parts.hostname,
            port=port or (443 if secure else 80),
            path=parts.path.rstrip("/"),
            authority=parts.netloc.rpartition("@")[2],
            tls=ssl.create_default_context() if secure else None,
            api_key=api_key or None,
        )

    def post_head(self, path: str) -> bytes:
        """The head of a POST of JSON to `path` below the base, up to Content-Length's value."""
        return self._head("POST", path) + b"Content-Type: application/json\r\nContent-Length: "

    def get(self, path: str) -> bytes:
        """A whole GET request for `path` below the base."""
        return self._head("GET", path) + b"\r\n"

    def _head(self, method: str, path: str) -> bytes:
        lines = [
            f"{method} {self.path}{path} HTTP/1.1",
            f"Host: {self.authority}",
            "User-Agent: overnight",
            "Accept: application/json",
            # Without this line a server may compress as it likes (RFC 9110 §12.5.3).
            "Accept-Encoding: identity",
        ]
        if self.api_key:
            lines.append(f"Authorization: Bearer {self.api_key}")
        return "".join(line + "\r\n" for line in lines).encode("latin-1")


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


class Reply(msgspec.Struct, gc=False):
    """A whole reply. `request_id`, `retry_after` and `coding` are header values as they came."""

    status: int
    body: bytes
    request_id: bytes
    retry_after: bytes
    coding: bytes = b""
    """Of the body, which is never decoded."""


class Stale(msgspec.Struct, frozen=True):
    """The server had closed the idle connection; it read nothing of ours: send again elsewhere."""


Answer = Reply | Failure | Stale


class Connection(asyncio.Protocol):
    """One connection; `send` may be called again once its future has a result."""

    __slots__ = (
        "_answer_by", "_body", "_body_bytes", "_body_bytes_before", "_coding", "_deadline",
        "_framed", "_headers_done", "_inflow", "_interim", "_is_long", "_loop", "_more",
        "_overhead_bytes", "_parser", "_paused_at", "_reply_bytes_max", "_request_id",
        "_retry_after", "_timeouts", "_transport", "_used",
        "_waiter", "closed",
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
        self._waiter: asyncio.Future[Answer] | None = None
        self._deadline = 0.0
        self._body_bytes_before = self._overhead_bytes = 0
        self._used = False
        self.closed = True
        self._clear()

    def _clear(self) -> None:
        self._body = b""
        self._more: list[bytes] | None = None
        self._body_bytes = 0
        self._answer_by = 0.0
        self._headers_done = False
        self._framed = False
        self._interim = False
        self._request_id = b""
        self._retry_after = b""
        self._coding = b""

    def send(self, request: bytes, first_byte_seconds: float) -> asyncio.Future[Answer]:
        """Write a whole request; the future yields what came of it and never raises."""
        loop = self._loop
        self._waiter = waiter = loop.create_future()
        if self.closed or self._transport is None:
            self._settle(Stale())
        else:
            self._deadline = loop.time() + first_byte_seconds
            self._transport.write(request)
        return waiter

    def sweep(self, now: float) -> None:
        """End the exchange if its time is up; `now` is the loop's time."""
        if self._waiter is not None and now > self._deadline:
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
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(answer)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self.closed = False

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            # Nothing was asked: a server that says goodbye (408), or nonsense.
            self.end(Stale())
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.end(_bad_reply("The upstream switched to another protocol."))
            return
        except httptools.HttpParserError as error:
            self.end(_bad_reply(f"The upstream does not answer in HTTP/1.1: {error}."))
            return
        if self._waiter is not None:
            self._check_unfinished(len(data))

    def _check_unfinished(self, size: int) -> None:
        """See to time and room after a piece of that many bytes that did not end the reply."""
        if not self._answer_by:
            self._answer_by = self._deadline
            self._body_bytes_before = self._overhead_bytes = 0
        if self._headers_done or not self._interim:
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
        if self._waiter is None:
            return
        if self._headers_done and not self._framed and exc is None:
            # RFC 9112 §6.3 rule 8: without a length, the body ends with the connection.
            self._finish()
        elif self._used and not self._answer_by:
            self._settle(Stale())
        else:
            part = "within its reply" if self._answer_by else "without a reply"
            self._settle(Failure(FailureKind.RESET, f"The upstream closed the connection {part}."))

    # httptools callbacks

    def on_message_begin(self) -> None:
        if self._waiter is None:
            # A reply nobody asked for must not be taken for the next request's.
            self.end(Stale())

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) in _NAMED:
            name = name.lower()
            if name == b"x-request-id":
                self._request_id = value
            elif name in (b"content-length", b"transfer-encoding"):
                self._framed = True
            elif name == b"retry-after":
                self._retry_after = value
            elif name == b"content-encoding":
                self._coding = value

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
        if self._parser.get_status_code() < 200:
            answer_by = self._answer_by
            self._clear()
            self._answer_by = answer_by
            self._interim = True
        elif self._waiter is not None:
            keep = self._parser.should_keep_alive() and self._all_sent()
            self._finish()
            if not keep:
                self.end(Stale())

    def _all_sent(self) -> bool:
        """A server that answered before it was told all may take the rest for a new request."""
        return self._transport is not None and not self._transport.get_write_buffer_size()

    def _finish(self) -> None:
        waiter = self._waiter
        if waiter is None:
            return
        if self._body_bytes > self._reply_bytes_max:
            self.end(self._too_large())
            return
        reply = Reply(
            self._parser.get_status_code(),
            self._body if self._more is None else b"".join(self._more),
            self._request_id,
            self._retry_after,
            self._coding,
        )
        self._used = True
        self._waiter = None
        if self._is_long:
            self._leave_inflow()
        self._clear()
        if not waiter.done():
            waiter.set_result(reply)


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
            await connect(lambda: connection, host, target.port, target.tls, target.host)
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
        return Failure(FailureKind.CONNECT, f"can not be reached: {error.strerror or error}")
    return connection
