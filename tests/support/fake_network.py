"""`seams.Connect` without sockets: upstreams in memory, on the clock of the loop.

    network = FakeNetwork()
    engine = network.upstream("gpu", answer=lambda request: Respond(200))
    Seams(connect=network.connect, …)           # send to http://gpu/v1

What happens is written down in `engine.received`; `engine.down = True` refuses connections.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from support.virtual_time import OWNER, Owner


@dataclass(frozen=True, slots=True)
class Respond:
    status: int = 200
    body: bytes = b'{"usage":{"prompt_tokens":1,"completion_tokens":2}}'
    after_seconds: float = 0.0
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection without a word."""

    after_seconds: float = 0.0


class Silence:
    """Never answer."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes as they are, piece after piece, each after its seconds."""

    pieces: Sequence[tuple[float, bytes]]
    close: bool = False
    """Close the connection behind the last piece."""
    arrived: Callable[[], None] = lambda: None
    """Called when the last piece has reached the client."""


Reaction = Respond | Drop | Silence | Raw


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as it arrived. `number` is the `n` of its body."""

    at: float
    number: int
    target: str
    attempt: int
    """How often this number has arrived by now."""
    in_flight: int
    """Requests the upstream had not answered by then, this one included."""
    owner: Owner | None = None
    """The process that sent it, in a loop that has several."""
    body: bytes = b""


class _Body(msgspec.Struct):
    n: int


_body = msgspec.json.Decoder(_Body)

Answer = Callable[[Sent], Reaction]


@dataclass(eq=False)
class FakeUpstream:
    answer: Answer
    models: Sequence[str] | int = ("m",)
    """A number: `/models` answers with that status."""
    down: bool = False
    unauthorized: bool = False
    received: list[Sent] = field(default_factory=list)
    in_flight: int = 0
    in_flight_max: int = 0
    refused: list[float] = field(default_factory=list)
    """When a connection was refused."""
    models_asked: int = 0
    _pipes: dict["_Pipe", None] = field(default_factory=dict)
    _arrivals: Counter[int] = field(default_factory=Counter)

    @property
    def numbers(self) -> list[int]:
        return [sent.number for sent in self.received]

    def crash(self) -> None:
        """Go down and drop all connections."""
        self.down = True
        for pipe in list(self._pipes):
            pipe.lose()

    def forget(self, owner: Owner) -> None:
        """A process is gone, and its connections with it."""
        for pipe in [pipe for pipe in self._pipes if pipe.owner is owner]:
            pipe.lose()


class FakeNetwork:
    def __init__(self) -> None:
        self._upstreams: dict[str, FakeUpstream] = {}

    def upstream(self, host: str, answer: Answer) -> FakeUpstream:
        made = self._upstreams[host] = FakeUpstream(answer)
        return made

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
        upstream = self._upstreams[socket_path or host]
        if upstream.down:
            upstream.refused.append(asyncio.get_running_loop().time())
            raise ConnectionRefusedError(111, "refused")
        protocol = factory()
        protocol.connection_made(_Pipe(upstream, protocol))


class _Pipe(asyncio.Transport):
    """The client's end of a connection; `write` reaches the upstream at once."""

    def __init__(self, upstream: FakeUpstream, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._upstream = upstream
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._lost = False
        self._busy = False
        self._paused = False
        self._unread: list[tuple[Raw, int]] = []
        self.owner = OWNER.get()
        upstream._pipes[self] = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._lost:
            return
        head, _, body = bytes(data).partition(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        if method == "GET":
            self._loop.call_soon(self._reply, self._model_list())
            return
        upstream = self._upstream
        number = _body.decode(body).n
        upstream._arrivals[number] += 1
        attempt = upstream._arrivals[number]
        self._busy = True
        upstream.in_flight += 1
        now = self._loop.time()
        sent = Sent(now, number, target, attempt, upstream.in_flight, self.owner, body)
        upstream.received.append(sent)
        upstream.in_flight_max = max(upstream.in_flight_max, upstream.in_flight)
        match upstream.answer(sent):
            case Respond() as respond:
                if upstream.unauthorized:
                    respond = Respond(401)
                self._loop.call_later(respond.after_seconds, self._reply, respond)
            case Drop(after_seconds):
                self._loop.call_later(after_seconds, self.lose)
            case Raw() as raw:
                self._later(raw, 0)

    def _later(self, raw: Raw, place: int) -> None:
        self._loop.call_later(raw.pieces[place][0], self._piece, raw, place)

    def _piece(self, raw: Raw, place: int) -> None:
        if self._lost:
            return
        if self._paused:
            self._unread.append((raw, place))
            return
        last = place + 1 == len(raw.pieces)
        if last:
            self._idle()
            raw.arrived()
        self._protocol.data_received(raw.pieces[place][1])
        if not last:
            self._later(raw, place + 1)
        elif raw.close:
            self.lose()

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        unread, self._unread = self._unread, []
        for raw, place in unread:
            self._loop.call_soon(self._piece, raw, place)

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.lose()

    def close(self) -> None:
        self.lose()

    def lose(self) -> None:
        if not self._lost:
            self._lost = True
            self._idle()
            self._upstream._pipes.pop(self, None)
            self._loop.call_soon(self._protocol.connection_lost, None)

    def _idle(self) -> None:
        if self._busy:
            self._busy = False
            self._upstream.in_flight -= 1

    def _model_list(self) -> Respond:
        self._upstream.models_asked += 1
        models = self._upstream.models
        if self._upstream.unauthorized:
            return Respond(401, b"{}")
        if isinstance(models, int):
            return Respond(models, b"{}")
        return Respond(200, msgspec.json.encode({"data": [{"id": model} for model in models]}))

    def _reply(self, respond: Respond) -> None:
        if self._lost:
            return
        self._idle()
        lines = [f"HTTP/1.1 {respond.status} Fake", f"content-length: {len(respond.body)}"]
        if respond.retry_after is not None:
            lines.append(f"retry-after: {respond.retry_after}")
        self._protocol.data_received("\r\n".join([*lines, "", ""]).encode() + respond.body)
