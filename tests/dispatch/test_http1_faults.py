"""The HTTP client and upstreams that do anything but answer, over real sockets."""

import asyncio
import ssl

import pytest

from overnight.dispatch.http1 import Answer, Connection, Reply, Stale, Timeouts, open_connection
from overnight.dispatch.target import Target
from overnight.domain.request import Failure, FailureKind
from overnight.seams import connect_system
from support.http_client import (
    FORMS,
    REPLY_BYTES_MAX,
    ask_once,
    connect,
    exchange,
    message,
    on_one_connection,
    raw,
    swept,
)
from support.scripted import (
    CLOSE,
    EARLY_HINTS,
    HANG,
    RESET,
    End,
    Pause,
    ScriptedUpstream,
    Steps,
    reply,
    reply_chunked,
)

# Cut off


@pytest.mark.parametrize("end", [CLOSE, RESET])
@pytest.mark.parametrize("form", ["content-length", "chunked", "after a hint, in one write"])
def test_a_reply_cut_at_any_byte_is_never_taken_for_whole(form: str, end: End) -> None:
    whole = raw(FORMS[form])

    async def main() -> None:
        script: list[Steps] = [[whole[:at], end] for at in range(1, len(whole))]
        async with ScriptedUpstream(script) as upstream:
            for at in range(1, len(whole)):
                answer = await exchange(upstream, await connect(upstream))
                assert isinstance(answer, Failure), whole[:at]
                assert answer.kind is FailureKind.RESET, whole[:at]

    asyncio.run(main())


def test_a_reset_does_not_end_a_body_without_length() -> None:
    answer, _ = ask_once([b'HTTP/1.1 200 OK\r\n\r\n{"a":', Pause(0.02), RESET])
    assert isinstance(answer, Failure)
    assert answer.kind is FailureKind.RESET


# Too late


def timed(steps: Steps, timeouts: Timeouts) -> Answer:
    async def main() -> Answer:
        async with ScriptedUpstream([steps]) as upstream:
            connection = await connect(upstream, timeouts)
            async with swept(connection):
                answer = await exchange(upstream, connection, timeouts)
            connection.end(Stale())
            return answer

    return asyncio.run(main())


def test_a_reply_that_does_not_begin_in_time() -> None:
    answer = timed([HANG], Timeouts(first_byte_seconds=0.05, idle_seconds=20))
    assert isinstance(answer, Failure)
    assert answer.kind is FailureKind.TIMEOUT
    assert "the reply" in answer.detail


@pytest.mark.parametrize(
    "begun", [b"HTTP/1.1 200", raw(reply(200, b"{}"))[:-1], raw(reply_chunked(b"{")[:1])]
)
def test_a_reply_that_does_not_go_on_in_time(begun: bytes) -> None:
    answer = timed([begun, HANG], Timeouts(first_byte_seconds=20, idle_seconds=0.05))
    assert isinstance(answer, Failure)
    assert answer.kind is FailureKind.TIMEOUT
    assert "rest" in answer.detail


def test_a_reply_that_trickles_is_waited_for() -> None:
    steps = [step for byte in b"HTTP/1.1 200 OK\r\n\r\n{}" for step in (bytes([byte]), Pause(0.01))]
    answer = timed([*steps, CLOSE], Timeouts(first_byte_seconds=20, idle_seconds=0.2))
    assert isinstance(answer, Reply)


def test_an_interim_reply_does_not_shorten_the_time_for_the_answer() -> None:
    steps = [EARLY_HINTS, Pause(0.3), *reply(200, b"{}")]
    answer = timed(steps, Timeouts(first_byte_seconds=20, idle_seconds=0.05))
    assert isinstance(answer, Reply)


def test_an_idle_connection_has_no_deadline() -> None:
    async def use(upstream: ScriptedUpstream, connection: Connection) -> None:
        await exchange(upstream, connection)
        connection.sweep(asyncio.get_running_loop().time() + 1e6)
        assert isinstance(await exchange(upstream, connection), Reply)

    on_one_connection([reply()], use)


def test_ending_an_exchange_answers_it_at_once() -> None:
    async def use(upstream: ScriptedUpstream, connection: Connection) -> None:
        answer = connection.send(message(upstream.base_url), 20)
        await upstream.received(1)
        aborted = Failure(FailureKind.RESET, "aborted")
        connection.end(aborted)
        assert await answer is aborted

    on_one_connection([[HANG]], use)


# No connection at all


async def failed_connect(url: str, tls: ssl.SSLContext | None = None) -> Failure:
    target = Target.parse(url)
    answer = await open_connection(
        target, connect_system, Timeouts(connect_seconds=5), REPLY_BYTES_MAX
    )
    assert isinstance(answer, Failure)
    assert answer.kind is FailureKind.CONNECT
    return answer


def test_tls_with_somebody_who_hangs_up() -> None:
    async def main() -> None:
        async with ScriptedUpstream([reply()], on_connect=[CLOSE]) as upstream:
            await failed_connect(upstream.base_url.replace("http:", "https:"))

    asyncio.run(main())


def test_a_connection_that_does_not_come_about_in_time() -> None:
    async def main() -> None:
        async with ScriptedUpstream([reply()], on_connect=[HANG]) as upstream:
            target = Target.parse(upstream.base_url.replace("http:", "https:"))
            answer = await open_connection(
                target, connect_system, Timeouts(connect_seconds=0.05), 1
            )
            assert isinstance(answer, Failure)
            assert answer.kind is FailureKind.CONNECT
            assert "within 0.05 s" in answer.detail

    asyncio.run(main())


def test_a_short_body_is_seen_whatever_ends_the_lines_of_its_head() -> None:
    async def use(upstream: ScriptedUpstream, connection: Connection) -> None:
        answer = await connection.send(message(upstream.base_url), 20)
        assert isinstance(answer, Failure)

    for head in (
        b"HTTP/1.1 200 OK\ncontent-length: 100\n\n",
        b"HTTP/1.1 200 OK\r\nx: y\nContent-Length:100\r\n\r\n",
    ):
        on_one_connection([[head + b"{}", CLOSE]], use)
