"""An upstream that does what a script says, byte for byte: for what no well-behaved server does.

    async with ScriptedUpstream([reply(500), [CLOSE], reply(200, b"{}")]) as upstream:
        ...                                  # send to upstream.base_url
        assert upstream.requests[0].body == b"..."

The script holds one list of steps per request, in the order in which requests arrive over all
connections; the last one serves every later request too. It may also be a function of the request.
A step is bytes to write as they are, `Pause`, `Wait`, `Note`, `HANG`, `CLOSE` or `RESET`; after
the last step the connection is read again, so a reply that should end the connection needs a
`CLOSE`.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Self

EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class End(Enum):
    HANG = "hang"
    """Never go on; the connection stays open until the client or the test ends it."""
    CLOSE = "close"
    """Close in order (FIN) after what was written."""
    RESET = "reset"
    """Drop the connection at once (RST)."""


HANG, CLOSE, RESET = End.HANG, End.CLOSE, End.RESET


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Go on when the test sets the event."""

    event: asyncio.Event


@dataclass(frozen=True, slots=True)
class Note:
    """Call this once all before it is written."""

    call: Callable[[], None]


Step = bytes | Pause | Wait | Note | End
Steps = Sequence[Step]


@dataclass(frozen=True, slots=True)
class Received:
    method: str
    target: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    connection: int
    """Which connection it came on, counted from 0."""


def reply(status: int = 200, body: bytes = b"{}", **headers: str) -> list[Step]:
    """A plain reply with `content-length`; `retry_after="1"` is the header `retry-after`."""
    lines = [f"HTTP/1.1 {status} Scripted", "content-type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"content-length: {len(body)}", "", ""]
    return ["\r\n".join(lines).encode() + body]


def reply_json(value: object, status: int = 200, **headers: str) -> list[Step]:
    return reply(status, json.dumps(value).encode(), **headers)


def reply_chunked(*pieces: bytes, status: int = 200) -> list[Step]:
    """Each piece is a chunk and a write of its own; put other steps between them by slicing."""
    head = f"HTTP/1.1 {status} Scripted\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return [head, *chunks, b"0\r\n\r\n"]


def reply_http_1_0(body: bytes, status: int = 200) -> list[Step]:
    """No length: the body ends with the connection."""
    return [f"HTTP/1.0 {status} Scripted\r\n\r\n".encode() + body, CLOSE]


class ScriptedUpstream:
    """Listens on a free loopback port while it is entered. `requests` is what arrived, in order."""

    def __init__(
        self, script: Sequence[Steps] | Callable[[Received], Steps], *, on_connect: Steps = ()
    ) -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self.port = 0
        self._script = script
        self._on_connect = on_connect
        self._handlers: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Condition()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def received(self, count: int, *, timeout_seconds: float = 10) -> None:
        """Wait until that many requests have arrived; raises `TimeoutError`."""
        async with asyncio.timeout(timeout_seconds), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)
        connection = self.connections
        self.connections += 1
        try:
            going_on = await _play(self._on_connect, writer)
            while going_on and (request := await _read(reader, connection)) is not None:
                self.requests.append(request)
                async with self._arrived:
                    self._arrived.notify_all()
                going_on = await _play(self._steps_for(request), writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client went away, or the test is over: neither is worth a word
        finally:
            writer.close()

    def _steps_for(self, request: Received) -> Steps:
        if callable(self._script):
            return self._script(request)
        return self._script[min(len(self.requests), len(self._script)) - 1]


async def _play(steps: Steps, writer: asyncio.StreamWriter) -> bool:
    """Whether the connection goes on."""
    for step in steps:
        match step:
            case bytes():
                writer.write(step)
                await writer.drain()
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Wait(event):
                await event.wait()
            case Note(call):
                call()
            case End.HANG:
                await asyncio.Event().wait()
            case End.CLOSE:
                return False
            case End.RESET:
                connection: socket.socket = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return False
    return True


async def _read(reader: asyncio.StreamReader, connection: int) -> Received | None:
    """One request, or None when the client closed."""
    with suppress(asyncio.IncompleteReadError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        method, target, _ = first.split(" ", 2)
        pairs = (line.split(":", 1) for line in lines)
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        if headers.get("transfer-encoding") == "chunked":
            body = await _read_chunks(reader)
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Received(method, target, headers, body, connection)
    return None


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readuntil(b"\r\n")), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body
