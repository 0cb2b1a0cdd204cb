"""The scripted upstream is itself relied on by tests, so it is held to what it says."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from support.scripted import (
    CLOSE,
    EARLY_HINTS,
    HANG,
    RESET,
    Pause,
    ScriptedUpstream,
    Steps,
    Wait,
    reply,
    reply_chunked,
    reply_http_1_0,
    reply_json,
)

GET = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED_HEAD = b"HTTP/1.1 200 Scripted\r\ntransfer-encoding: chunked\r\n\r\n"


async def exchange(upstream: ScriptedUpstream, sent: bytes) -> bytes:
    """All that comes back until the upstream closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
    writer.write(sent)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await test()

    asyncio.run(bounded())


def test_replies_in_the_order_of_the_script_and_repeats_the_last() -> None:
    async def test() -> None:
        script = [[*reply(500), CLOSE], [*reply_json({"a": 1}, retry_after="7"), CLOSE]]
        async with ScriptedUpstream(script) as upstream:
            assert (await exchange(upstream, GET)).startswith(b"HTTP/1.1 500 ")
            second = await exchange(upstream, GET)
            assert b"\r\nretry-after: 7\r\n" in second
            assert second.endswith(b'\r\n\r\n{"a": 1}')
            assert await exchange(upstream, GET) == second
            assert [request.connection for request in upstream.requests] == [0, 1, 2]

    run(test)


def test_records_plain_and_chunked_requests_on_one_connection() -> None:
    async def test() -> None:
        async with ScriptedUpstream([reply(), [CLOSE]]) as upstream:
            plain = b"POST /a HTTP/1.1\r\nX-Name: v\r\nContent-Length: 3\r\n\r\nabc"
            chunked = (
                b"POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
            )
            await exchange(upstream, plain + chunked)
            first, second = upstream.requests
            assert (first.method, first.target, first.body) == ("POST", "/a", b"abc")
            assert first.headers["x-name"] == "v"
            assert (second.target, second.body, second.connection) == ("/b", b"abcde", 0)

    run(test)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([CLOSE], b""),
        ([b"HTTP/1.1 200 OK\r\ncontent-le", CLOSE], b"HTTP/1.1 200 OK\r\ncontent-le"),
        ([EARLY_HINTS, Pause(0.001), b"x", CLOSE], EARLY_HINTS + b"x"),
        (reply_http_1_0(b"body"), b"HTTP/1.0 200 Scripted\r\n\r\nbody"),
        (
            [*reply_chunked(b"ab", b"c"), CLOSE],
            CHUNKED_HEAD + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        ),
    ],
)
def test_writes_exactly_what_the_script_says(steps: Steps, expected: bytes) -> None:
    async def test() -> None:
        async with ScriptedUpstream(lambda _: steps) as upstream:
            assert await exchange(upstream, GET) == expected

    run(test)


def test_reset_hang_and_wait() -> None:
    async def test() -> None:
        gate = asyncio.Event()
        async with ScriptedUpstream([[RESET], [Wait(gate), b"x", CLOSE], [HANG]]) as upstream:
            with contextlib.suppress(ConnectionResetError):
                assert await exchange(upstream, GET) == b""
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(exchange(upstream, GET))
                await upstream.received(2)
                assert not waiting.done()
                gate.set()
            assert waiting.result() == b"x"
            _, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
            writer.write(GET)
            await upstream.received(3)
        writer.close()  # leaving ended the hanging connection, or this test would not end

    run(test)


def test_steps_on_connect_come_before_any_request() -> None:
    async def test() -> None:
        async with ScriptedUpstream([reply()], on_connect=[CLOSE]) as upstream:
            assert await exchange(upstream, b"") == b""
            assert upstream.requests == []

    run(test)
