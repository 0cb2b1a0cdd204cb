"""`seams.Connect` and `seams.Resolve` for receivers of webhooks, in memory and on the loop's clock.

    network = HookNetwork({"hook.example": ["93.184.216.34"]})
    Seams(connect=network.connect, resolve=network.resolve, …)

What arrives is in `network.hooks`; `network.answer` decides what becomes of it.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from support.fake_network import Drop, Reaction, Respond

PUBLIC = "93.184.216.34"
_PIECE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Hook:
    """One request as it arrived."""

    at: float
    address: str
    server_name: str | None
    request_line: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        decoded: dict[str, Any] = msgspec.json.decode(self.body)
        return decoded


@dataclass
class HookNetwork:
    addresses: dict[str, list[str]] = field(
        default_factory=lambda: {"hook.example": [PUBLIC], "slow.example": ["93.184.216.35"]}
    )
    answer: Callable[[Hook], Reaction] = lambda _: Respond(200, b"")
    refusing: set[str] = field(default_factory=set)
    """Addresses where nobody listens."""
    hooks: list[Hook] = field(default_factory=list)
    connected: list[str] = field(default_factory=list)
    resolved: list[str] = field(default_factory=list)

    async def resolve(self, host: str, port: int) -> list[str]:
        await asyncio.sleep(0)
        self.resolved.append(host)
        if host not in self.addresses:
            raise OSError(-2, "Name or service not known")
        return self.addresses[host]

    async def connect(
        self,
        factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        server_name: str | None = None,
        socket_path: str | None = None,
    ) -> None:
        await asyncio.sleep(0)
        self.connected.append(host)
        if host in self.refusing:
            raise ConnectionRefusedError(111, "refused")
        protocol = factory()
        protocol.connection_made(_Pipe(self, protocol, host, server_name))


class _Pipe(asyncio.Transport):
    """The sender's end; a request arrives whole, as it is written."""

    def __init__(
        self, network: HookNetwork, protocol: asyncio.Protocol, address: str, name: str | None
    ) -> None:
        super().__init__()
        self._network = network
        self._protocol = protocol
        self._address = address
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._lost = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        head, _, body = bytes(data).partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        pairs = (line.partition(": ") for line in rest)
        headers = {name.lower(): value for name, _, value in pairs}
        assert int(headers["content-length"]) == len(body)
        hook = Hook(self._loop.time(), self._address, self._name, first, headers, body)
        self._network.hooks.append(hook)
        match self._network.answer(hook):
            case Respond() as respond:
                self._loop.call_later(respond.after_seconds, self._reply, respond)
            case Drop(after_seconds):
                self._loop.call_later(after_seconds, self._lose)

    def _reply(self, respond: Respond) -> None:
        lines = [f"HTTP/1.1 {respond.status} Fake", f"content-length: {len(respond.body)}"]
        if respond.retry_after is not None:
            lines.append(f"retry-after: {respond.retry_after}")
        lines += ["location: http://127.0.0.1/", "", ""]
        data = "\r\n".join(lines).encode() + respond.body
        for start in range(0, len(data), _PIECE_BYTES):
            if not self._lost:
                self._protocol.data_received(data[start : start + _PIECE_BYTES])

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self._lose()

    def close(self) -> None:
        self._lose()

    def _lose(self) -> None:
        if not self._lost:
            self._lost = True
            self._loop.call_soon(self._protocol.connection_lost, None)
