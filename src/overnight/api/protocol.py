"""HTTP/1.1 as uvicorn speaks it, but what it can not read is refused in our one shape too, who
does not move any more is let go, and no client keeps the others out."""

import json
from asyncio import AbstractEventLoop, BaseTransport, Transport
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, cast

import httptools
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from overnight.api.faults import RETRY_AFTER_SECONDS, fault_body
from overnight.api.patience import Patience, Stopwatch, Wait
from overnight.api.request_ids import new_request_id
from overnight.seams import Chance

HEAD_BYTES_MAX: Final = 64 * 1024
"""Of the address and all headers of a request; its parser itself has no limit."""

DISCARDED_BYTES_MAX: Final = 16 * 1024 * 1024
"""Read and thrown away behind an answer that is the last one, so that it arrives."""


class _HeadError(Exception):
    """Raised through the parser, which hands it on as the context of its own error."""

    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(message)
        self.refusal = status, message, code


class _PipelineFlow(FlowControl):
    """Reads no further while requests that have been read wait for their turn: else a client that
    sends them faster than they are answered would fill the memory."""

    def __init__(self, transport: Transport, pipeline: deque[Any]) -> None:
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        if not self._pipeline:
            super().resume_reading()


class _LastingTransport:
    """What a request's answer is written to: closing it lets the answer arrive first."""

    def __init__(self, protocol: "RefusingProtocol") -> None:
        self._protocol = protocol
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing

    def close(self) -> None:
        self._protocol.hang_up()


@dataclass(frozen=True, slots=True)
class _House:
    """What all connections share. `idle` are those without a request under way, the longest idle
    first; of them one is closed when there are too many."""

    chance: Chance
    patience: Patience
    idle: "dict[RefusingProtocol, None]" = field(default_factory=dict)


class RefusingProtocol(HttpToolsProtocol):
    """Answers 431 to a head without end, 400 to bytes that are no HTTP, and 408 to who stops in
    the middle of a request; then it hangs up."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
        *,
        house: _House,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._chance = house.chance
        self._patience = house.patience
        self._idle = house.idle
        self._stopwatch = Stopwatch()
        self._in_head = False
        self._head_bytes = 0
        self._heads = 0
        self._body_began = False
        self._received_bytes = 0
        self._is_deaf = False
        self._is_stopping = False
        self._discarded_bytes = 0

    def connection_made(self, transport: BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        super().connection_made(cast("Transport", transport))
        self.flow = _PipelineFlow(self.transport, self.pipeline)
        self._idle[self] = None
        if len(self.connections) > self._patience.connections_max:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._idle.pop(self, None)
        super().connection_lost(exc)

    def _make_room(self) -> None:
        longest = next(iter(self._idle))
        del self._idle[longest]
        if longest is not self:
            longest.transport.close()
            return
        message = "All connections are at work; send the request again in a moment."
        self._write_refusal(503, message, "unavailable")
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        self._received_bytes += len(data)
        if self._is_deaf:
            self._discarded_bytes += len(data)
            if self._discarded_bytes > DISCARDED_BYTES_MAX:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        was_in_head = self._in_head
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse_unreadable(error)
        if was_in_head and self._in_head and not self._is_deaf:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(*_head_too_large().refusal)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes, self._body_began = True, 0, False
        self._heads += 1

    def on_headers_complete(self) -> None:
        self._in_head = False
        length = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if length > HEAD_BYTES_MAX:
            raise _head_too_large()
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            message = f"A request has one header Host (RFC 9112, 3.2), this one has {hosts}."
            raise _HeadError(400, message, "invalid_http")
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            self.cycle.transport = cast("Transport", _LastingTransport(self))
            self._idle.pop(self, None)

    def on_body(self, body: bytes) -> None:
        self._body_began = True
        if self.cycle is not None:
            self._spare_copies(self.cycle)
        super().on_body(body)

    @staticmethod
    def _spare_copies(cycle: RequestResponseCycle) -> None:
        """Let the first piece that nobody has taken yet be handed on as it is.

        Added to no bytes, and then asked for as bytes, it is not copied, as it would be twice by
        way of the usual bytearray. That is there for the pieces behind it, which may be many.
        """
        waiting = cast("bytes | bytearray", cycle.body)
        if not waiting:
            cycle.body = cast("bytearray", b"")
        elif isinstance(waiting, bytes):
            cycle.body = bytearray(waiting)

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        if not self.pipeline:
            if self.cycle.more_body and self.expect_100_continue and not self._body_began:
                # Nobody can tell whether what comes next is this body or another request.
                self.hang_up()
            self._idle[self] = None
        super().on_response_complete()

    def hang_up(self) -> None:
        """Close so that what was written arrives: bytes that nobody reads would make it a reset."""
        if self._is_stopping or self.transport.is_closing() or not self._is_body_coming():
            self.transport.close()
            return
        self._is_deaf = True
        self._unset_keepalive_if_required()
        self.transport.write_eof()
        self.flow.resume_reading()

    def _is_body_coming(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return self._in_head or (cycle is not None and cycle.more_body)

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Read the request as if it had not offered another protocol (RFC 9110, 7.8).

        Some clients offer HTTP/2 with everything they send, and the parser then takes what
        follows the head for the other protocol: the body would be lost.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            message = "This is an HTTP/1.1 server and no proxy; CONNECT is not for it."
            self._refuse(400, message, "invalid_http")
            return
        if self._is_owed_an_answer():
            # Nobody offers another protocol behind requests that may change it; one at a time.
            self._end_after_answers()
            return
        version = self.parser.get_http_version().encode()
        kept = [b"%b %b HTTP/%b" % (method, self.url, version)]
        kept += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join(kept) + b"\r\n\r\n" + rest)

    def shutdown(self) -> None:
        self._is_stopping = True
        if self._is_owed_an_answer():
            super().shutdown()
        else:
            self.transport.close()

    def sweep(self, now: float) -> None:
        """Let go of a client that has kept us waiting too long; `now` is the loop's time."""
        wait, moved = self._waits_for()
        seconds = self._patience.seconds(wait)
        if self._stopwatch.look(wait, moved, now) >= (seconds or float("inf")):
            self._give_up(wait)

    def _waits_for(self) -> tuple[Wait, int]:
        """For what, and a number that changes when some of it comes."""
        if unsent := self.transport.get_write_buffer_size():
            return Wait.READER, unsent
        if self.transport.is_closing():
            return Wait.END, 0
        if self._is_owed_an_answer():
            may_read = self.cycle.more_body and not self.flow.read_paused
            return (Wait.BODY, self._received_bytes) if may_read else (Wait.ANSWER, 0)
        if self._is_deaf:
            return Wait.END, 0
        if self._is_body_coming() and not self._in_head:
            return Wait.REST, 0
        return Wait.HEAD, self._heads

    def _give_up(self, wait: Wait) -> None:
        if wait is Wait.HEAD and not self._in_head:
            self.transport.close()
        elif wait in (Wait.HEAD, Wait.BODY):
            seconds = self._patience.seconds(wait) or 0
            message = f"The rest of the request did not come within {seconds:g} s; send it again."
            self._refuse(408, message, "request_timeout")
        else:
            self.transport.abort()

    def _refuse_unreadable(self, error: httptools.HttpParserError) -> None:
        if isinstance(error.__context__, _HeadError):
            self._refuse(*error.__context__.refusal)
        else:
            self._refuse(400, f"This is not HTTP/1.1 as RFC 9112 has it: {error}.", "invalid_http")

    def _refuse(self, status: int, message: str, code: str) -> None:
        """Answer for the bytes that are being read, unless another answer is due before."""
        if self._is_owed_an_answer():
            if not self.cycle.more_body:
                self._end_after_answers()
                return
            if self.cycle.response_started or self.pipeline:
                # In the middle of a reply another one could not be told from its body.
                self.transport.close()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._write_refusal(status, message, code)
        self._is_deaf = True
        self._unset_keepalive_if_required()
        self._idle.pop(self, None)
        self.transport.write_eof()
        self.flow.resume_reading()

    def _write_refusal(self, status: int, message: str, code: str) -> None:
        body = json.dumps(fault_body(status, message, code=code)).encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", new_request_id(self._chance).encode()),
            (b"connection", b"close"),
        ]
        if status == 503:
            headers.append((b"retry-after", str(RETRY_AFTER_SECONDS).encode()))
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + body)

    def _is_owed_an_answer(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete and not cycle.disconnected

    def _end_after_answers(self) -> None:
        """Read nothing more; the answer to the last whole request ends the connection."""
        self.cycle.keep_alive = False
        self._is_deaf = True


def _head_too_large() -> _HeadError:
    message = (
        f"The address and headers of a request have at most {HEAD_BYTES_MAX:,} bytes together; "
        "send less, and what is large in the body."
    )
    return _HeadError(431, message, "headers_too_large")


def protocol_class(chance: Chance, patience: Patience) -> type[HttpToolsProtocol]:
    """What uvicorn calls for each connection, as if it were a class."""
    house = _House(chance, patience)
    return cast("type[HttpToolsProtocol]", partial(RefusingProtocol, house=house))
