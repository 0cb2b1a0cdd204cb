"""Upstreams one can not connect to as one should, over real sockets: nothing is sent to them.

The certificates of tests/support/tls are of an authority whose key was thrown away: `good` is for
127.0.0.1 and localhost, `expired` for them until February 2020, `elsewhere` for another host, and
`selfsigned` is its own authority. They last until 2120.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

import support
from overnight.dispatch.dispatcher import Dispatcher, DispatchOptions
from overnight.dispatch.http1 import Answer, Connection, Reply, Stale, Timeouts, open_connection
from overnight.dispatch.lane import LaneOptions
from overnight.dispatch.target import Target
from overnight.domain.request import Failure, FailureKind, OutcomeKind
from overnight.options import fast_loop
from overnight.seams import Seams, connect_system
from support.memory_disk import MemoryDisk
from support.scripted import Received, ScriptedUpstream, Steps, reply
from support.shards import open_shard, written

TLS = Path(support.__path__[0]) / "tls"
KEY = "sk-of-the-first-upstream"


@pytest.fixture(params=["asyncio", "as we run"])
def runner(request: pytest.FixtureRequest) -> asyncio.Runner:
    return asyncio.Runner(loop_factory=fast_loop() if request.param == "as we run" else None)


class TlsServer:
    """Answers every request with `{}`, and keeps what it was sent."""

    def __init__(self) -> None:
        self.port = 0
        self.received: list[bytes] = []

    @asynccontextmanager
    async def listening(self, certificate: str | None) -> AsyncIterator["TlsServer"]:
        context = None
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(TLS / f"{certificate}.pem", TLS / "key.pem")
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.received.append(await reader.readuntil(b"{}"))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # the client left without a request
        finally:
            writer.close()


async def ask(url: str, *, trusting: bool = True) -> Answer:
    target = Target.parse(url, KEY)
    if target.tls is not None and trusting:
        context = ssl.create_default_context(cafile=TLS / "authority.pem")
        target = msgspec.structs.replace(target, tls=context)
    connection = await open_connection(target, connect_system, Timeouts(connect_seconds=10), 1_000)
    if isinstance(connection, Failure):
        return connection
    try:
        return await connection.send(target.post_head("/x") + b"2\r\n\r\n{}", 10)
    finally:
        connection.end(Stale())


def test_a_server_whose_certificate_is_right_is_trusted(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with TlsServer().listening("good") as server:
            for host in ("127.0.0.1", "localhost"):
                assert isinstance(await ask(f"https://{host}:{server.port}/v1"), Reply)

    with runner:
        runner.run(main())


@pytest.mark.parametrize(
    ("certificate", "trusting", "why"),
    [
        ("selfsigned", True, "self-signed certificate"),
        ("good", False, "unable to get local issuer certificate"),
        ("expired", True, "certificate has expired"),
        ("elsewhere", True, "IP address mismatch, certificate is not valid for '127.0.0.1'"),
    ],
)
def test_a_server_that_is_not_whom_we_mean_gets_nothing(
    runner: asyncio.Runner, certificate: str, trusting: bool, why: str
) -> None:
    async def main() -> None:
        async with TlsServer().listening(certificate) as server:
            answer = await ask(f"https://127.0.0.1:{server.port}/v1", trusting=trusting)
        assert isinstance(answer, Failure)
        assert answer.kind is FailureKind.CONNECT
        assert answer.detail.lower().replace("self signed", "self-signed") == (
            f"fails tls: {why.lower()}"
        )
        assert server.received == []

    with runner:
        runner.run(main())


def test_https_where_plain_http_is_spoken_gets_nothing(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with ScriptedUpstream([], on_connect=[b"HTTP/1.1 400 Bad\r\n\r\n"]) as server:
            answer = await ask(f"https://127.0.0.1:{server.port}/v1")
        assert isinstance(answer, Failure)
        assert answer.kind is FailureKind.CONNECT
        assert "TLS" in answer.detail

    with runner:
        runner.run(main())


def test_plain_http_where_tls_is_spoken_is_no_answer(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with TlsServer().listening("good") as server:
            answer = await ask(f"http://127.0.0.1:{server.port}/v1")
        assert isinstance(answer, Failure)
        assert answer.kind in (FailureKind.BAD_REPLY, FailureKind.RESET)

    with runner:
        runner.run(main())


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://no-such-host.invalid/v1", "can not be reached: "),
        ("https://no-such-host.invalid/v1", "can not be reached: "),
        ("http://127.0.0.1:{closed}/v1", "refuses connections"),
        ("http://localhost:{closed}/v1", "refuses connections"),
        ("https://127.0.0.1:{closed}/v1", "refuses connections"),
    ],
)
def test_nobody_there(runner: asyncio.Runner, url: str, why: str) -> None:
    with socket.socket() as bound:
        # Bound and not listened on: nobody else can have the port meanwhile.
        bound.bind(("127.0.0.1", 0))
        url = url.replace("{closed}", str(bound.getsockname()[1]))
        with runner:
            answer = runner.run(ask(url))
    assert isinstance(answer, Failure)
    assert answer.kind is FailureKind.CONNECT
    assert answer.detail.startswith(why)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_neither_requests_nor_the_key_elsewhere(status: int) -> None:
    disk = MemoryDisk()

    async def main() -> tuple[ScriptedUpstream, ScriptedUpstream]:
        elsewhere = ScriptedUpstream([reply()])

        def script(request: Received) -> Steps:
            if request.method == "POST" and b'"n":1' in request.body:
                return reply()
            return reply(status, b"", location=f"http://127.0.0.1:{elsewhere.port}/v1/x")

        async with elsewhere, ScriptedUpstream(script) as upstream:
            dispatcher = Dispatcher(Seams(disk=disk), DispatchOptions())
            async with asyncio.timeout(30), dispatcher.running():
                target = Target.parse(upstream.base_url, KEY)
                dispatcher.add_lane(LaneOptions(target, 1, models=frozenset("m")))
                dispatcher.open(open_shard(disk, 9))
                await dispatcher.finished.get()
        return upstream, elsewhere

    upstream, elsewhere = asyncio.run(main())
    posts = [request for request in upstream.requests if request.method == "POST"]
    assert len(posts) == 9
    assert {request.headers["authorization"] for request in upstream.requests} == {f"Bearer {KEY}"}
    assert elsewhere.connections == 0
    assert sorted(written(disk).items()) == [
        (1, OutcomeKind.SUCCESS),
        *((number, OutcomeKind.FAILURE) for number in range(2, 10)),
    ]


def test_a_connection_that_is_accepted_and_left_ends_with_its_time() -> None:
    async def main() -> None:
        held = socket.socket()
        held.bind(("127.0.0.1", 0))
        held.listen()  # the system accepts; nobody ever reads
        with held:
            url = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
            target = Target.parse(url)
            connection = await open_connection(target, connect_system, Timeouts(), 1_000)
            assert isinstance(connection, Connection)
            waiting = connection.send(target.post_head("/x") + b"2\r\n\r\n{}", 10)
            loop = asyncio.get_running_loop()
            connection.sweep(loop.time() + 9)
            assert not waiting.done()
            connection.sweep(loop.time() + 11)
            answer = await waiting
        assert isinstance(answer, Failure)
        assert answer.kind is FailureKind.TIMEOUT

    asyncio.run(main())
