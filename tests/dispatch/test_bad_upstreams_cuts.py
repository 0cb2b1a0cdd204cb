"""Connections cut at every byte, replies nobody asked for, and bytes of any kind.

What is asserted of all of them: every request gets the reply to itself or none, is sent a bounded
number of times, and nothing is raised.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overnight.dispatch.dispatcher import Dispatcher, DispatchOptions
from overnight.dispatch.http1 import Connection, Reply, Timeouts, open_connection
from overnight.dispatch.lane import LaneOptions
from overnight.dispatch.target import Target
from overnight.domain.request import Failure, FailureKind
from overnight.domain.retry import RetryPolicy
from overnight.seams import Seams, connect_system
from support.bad_upstream import said
from support.dispatch_world import World
from support.fake_network import Drop, Raw, Respond, Sent
from support.memory_disk import MemoryDisk
from support.scripted import Received, ScriptedUpstream, Steps, reply
from support.shards import open_shard, result_lines
from support.virtual_time import run_virtual


def echo(number: int, *, chunked: bool = False) -> bytes:
    """A reply that says which request it is for."""
    body = b'{"n":%d}' % number
    if chunked:
        half = len(body) // 2
        parts = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (body[:half], body[half:]))
        return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + parts + b"0\r\n\r\n"
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def answers(disk: MemoryDisk) -> dict[int, int | None]:
    """Which request's reply each request got."""
    lines = {number: json.loads(line) for number, line in result_lines(disk).items()}
    return {
        number: line["response"]["body"]["n"] if line["error"] is None else None
        for number, line in lines.items()
    }


def ours(count: int) -> dict[int, int | None]:
    return {number: number for number in range(1, count + 1)}


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize("slots", [1, 4])
def test_a_reply_cut_at_any_byte_costs_a_try_and_is_nobodys(chunked: bool, slots: int) -> None:
    longest = len(echo(999, chunked=chunked))

    def cut_once(sent: Sent) -> Raw | Drop:
        whole = echo(sent.number, chunked=chunked)
        at = sent.number % longest
        if sent.attempt > 1 or at >= len(whole):
            return said(whole)
        return said(whole[:at], close=True) if at else Drop()

    async def main() -> MemoryDisk:
        world = World()
        engine = world.upstream(cut_once)
        async with world.dispatcher.running():
            world.lane(slots=slots)
            world.open(3 * longest)
            await world.finished(10_000)
        assert max(Counter(engine.numbers).values()) <= 3
        return world.disk

    assert answers(run_virtual(main())) == ours(3 * longest)


class CuttingServer:
    """Over real sockets: on each connection answers one request, and drops the next behind a
    number of its bytes, one more each time."""

    def __init__(self, ends: Callable[[asyncio.StreamWriter], None]) -> None:
        self._ends = ends
        self.cut_at = 0
        self.served: Counter[int] = Counter()
        self.request_bytes = 0
        self._handlers: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        await asyncio.gather(*self._handlers)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.append(handler)
        try:
            if not await self._answer(reader, writer):
                return
            if self.cut_at < self.request_bytes:
                self.cut_at += 1
                await reader.readexactly(self.cut_at)
            self._ends(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has nothing more to send
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Was it a request?"""
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET"):
            writer.write(b"HTTP/1.1 404 None\r\ncontent-length: 0\r\n\r\n")
            return False
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        body = await reader.readexactly(length)
        self.request_bytes = len(head) + length
        number = int(json.loads(body)["n"])
        self.served[number] += 1
        writer.write(echo(number))
        await writer.drain()
        return True


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_request_cut_at_any_byte_on_a_kept_connection_is_sent_again_uncharged(end: str) -> None:
    def ends(writer: asyncio.StreamWriter) -> None:
        if end == "reset":
            writer.transport.abort()

    disk = MemoryDisk()

    async def main() -> CuttingServer:
        server = CuttingServer(ends)
        dispatcher = Dispatcher(Seams(disk=disk), DispatchOptions(RetryPolicy()))
        async with server.listening() as url, asyncio.timeout(60), dispatcher.running():
            target = Target.parse(url)
            dispatcher.add_lane(LaneOptions(target, 1, models=frozenset("m")))
            dispatcher.open(open_shard(disk, 300))
            await dispatcher.finished.get()
        assert dispatcher.charged_retries == 0
        return server

    server = asyncio.run(main())
    assert server.cut_at == server.request_bytes, "not every byte was tried"
    assert set(server.served.values()) == {1}
    assert answers(disk) == ours(300)


# Desynchronised


def strays(count: int, reaction: Callable[[Sent], Raw]) -> dict[int, int | None]:
    async def main() -> MemoryDisk:
        world = World()
        world.upstream(reaction)
        async with world.dispatcher.running():
            world.lane(slots=1)
            world.open(count)
            await world.finished(10_000)
        return world.disk

    return answers(run_virtual(main()))


STRAY = echo(666)


@pytest.mark.parametrize(
    "behind",
    [
        STRAY,
        STRAY[:1],
        STRAY[:20],
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"junk",
        b"{}",
        b"\r\n\r\n" + STRAY,
        b"\0",
    ],
)
def test_what_comes_with_a_reply_and_was_not_asked_for_is_nobodys(behind: bytes) -> None:
    assert strays(20, lambda sent: said(echo(sent.number) + behind)) == ours(20)


@pytest.mark.parametrize("stray", [STRAY, STRAY[:20], b"junk", b"HTTP/1.1 408 T\r\n\r\n"])
def test_what_comes_while_nothing_is_asked_is_nobodys(stray: bytes) -> None:
    async def ask(connection: Connection, target: Target) -> object:
        head = target.post_head("/x")
        return await connection.send(head + b"2\r\n\r\n{}", 10)

    async def main() -> None:
        sent = asyncio.Event()

        def script(_: Received) -> Steps:
            sent.set()
            return [*reply(200, b"{}"), stray]

        async with asyncio.timeout(20), ScriptedUpstream(script) as upstream:
            target = Target.parse(upstream.base_url)
            connection = await open_connection(target, connect_system, Timeouts(), 1_000)
            assert isinstance(connection, Connection)
            assert isinstance(await ask(connection, target), Reply)
            while not connection.closed:  # noqa: ASYNC110  what is tested must not tell us
                await asyncio.sleep(0.001)

    asyncio.run(main())


def test_a_server_that_answers_before_it_was_told_all_is_left() -> None:
    """It may take what is left of the request for the next one, and answer that."""

    async def main() -> None:
        seen, gone = asyncio.Event(), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\n{}")
            await seen.wait()
            writer.close()
            gone.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**10)
        async with asyncio.timeout(20), server:
            port = server.sockets[0].getsockname()[1]
            target = Target.parse(f"http://127.0.0.1:{port}/v1")
            connection = await open_connection(target, connect_system, Timeouts(), 1_000)
            assert isinstance(connection, Connection)
            body = b"x" * 30_000_000
            answer = await connection.send(
                target.post_head("/x") + b"%d\r\n\r\n%b" % (len(body), body), 10
            )
            assert isinstance(answer, Reply)
            assert answer.status == 413
            assert connection.closed
            seen.set()
            await gone.wait()

    asyncio.run(main())


# Anything


@st.composite
def replies(draw: st.DrawFn) -> Sequence[bytes]:
    """Bytes that are a reply, nearly one, or none, in any pieces."""
    parts = st.sampled_from(
        [
            b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200\r\n", b"HTTP/1.1 103 H\r\n\r\n",
            b"HTTP/1.1 502 B\r\n", b"HTTP/1.1 204 N\r\n", b"HTTP/1.1 101 S\r\nupgrade: x\r\n",
            b"content-length: 2\r\n", b"content-length: 0\r\n", b"transfer-encoding: chunked\r\n",
            b"transfer-encoding: gzip\r\n", b"connection: close\r\n", b"content-encoding: gzip\r\n",
            b"retry-after: 1e9\r\n", b'x-request-id: \xff"\r\n', b"\r\n", b"2\r\n", b"0\r\n\r\n",
            b"{}", b'{"error":', b'{"usage":7}', b"\xef\xbb\xbf", b"\x1f\x8b", b"[[[[", b"\0",
        ]
    )  # fmt: skip
    whole = b"".join(draw(st.lists(parts | st.binary(max_size=30), max_size=12)))
    cuts = sorted(draw(st.sets(st.integers(0, len(whole)), max_size=4)))
    return [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


@settings(max_examples=80, deadline=None)
@given(replies(), st.booleans())
def test_bytes_of_any_kind_end_as_an_outcome(pieces: Sequence[bytes], close: bool) -> None:
    async def main() -> None:
        world = World()
        world.upstream(
            lambda sent: said(*pieces, close=close) if sent.attempt == 1 else Respond(200, b"{}")
        )
        async with world.dispatcher.running():
            timeouts = Timeouts(first_byte_seconds=5, idle_seconds=5, reply_seconds=5)
            world.lane(slots=1, timeouts=timeouts, models=frozenset("m"))
            world.open(3)
            await world.finished(20_000)
        lines = result_lines(world.disk)
        assert sorted(lines) == [1, 2, 3]
        for line in lines.values():
            read = json.loads(line)
            error = read["error"]
            assert error is None or FailureKind(error["code"])

    run_virtual(main())


@settings(max_examples=200, deadline=None)
@given(replies())
def test_bytes_of_any_kind_end_as_a_value(pieces: Sequence[bytes]) -> None:
    """A reply, or a failure behind which the connection is closed."""

    async def main() -> None:
        world = World()
        world.upstream(lambda _: said(*pieces, close=True))
        target = Target.parse("http://gpu/v1")
        connection = await open_connection(target, world.network.connect, Timeouts(), 1_000)
        assert isinstance(connection, Connection)
        body = b'{"model":"m","n":1}'
        answer = await connection.send(
            target.post_head("/x") + b"%d\r\n\r\n%b" % (len(body), body), 10
        )
        assert isinstance(answer, Reply | Failure)
        assert isinstance(answer, Reply) or connection.closed

    run_virtual(main())
