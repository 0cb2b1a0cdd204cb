"""`seams.Connect` without sockets: upstreams in memory, on the clock of the loop.

    network = FakeNetwork()
    engine = network.upstream("gpu", answer=lambda request: Respond(200))
    Seams(connect=network.connect, …)           # send to http://gpu/v1

What happens is written down in `engine.received`; `engine.down = True` refuses connections.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec


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


Reaction = Respond | Drop | Silence


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
    _pipes: set["_Pipe"] = field(default_factory=set)

    @property
    def numbers(self) -> list[int]:
        return [sent.number for sent in self.received]

    def crash(self) -> None:
        """Go down and drop all connections."""
        self.down = True
        for pipe in list(self._pipes):
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
    ) -> None:
        await asyncio.sleep(0)
        upstream = self._upstreams[host]
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
        upstream._pipes.add(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        head, _, body = bytes(data).partition(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        if method == "GET":
            self._loop.call_soon(self._reply, self._model_list())
            return
        upstream = self._upstream
        number = _body.decode(body).n
        attempt = upstream.numbers.count(number) + 1
        self._busy = True
        upstream.in_flight += 1
        sent = Sent(self._loop.time(), number, target, attempt, upstream.in_flight)
        upstream.received.append(sent)
        upstream.in_flight_max = max(upstream.in_flight_max, upstream.in_flight)
        match upstream.answer(sent):
            case Respond() as respond:
                if upstream.unauthorized:
                    respond = Respond(401)
                self._loop.call_later(respond.after_seconds, self._reply, respond)
            case Drop(after_seconds):
                self._loop.call_later(after_seconds, self.lose)

    def abort(self) -> None:
        self.lose()

    def close(self) -> None:
        self.lose()

    def lose(self) -> None:
        if not self._lost:
            self._lost = True
            self._idle()
            self._upstream._pipes.discard(self)
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
