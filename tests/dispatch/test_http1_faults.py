"""The HTTP client and upstreams that do anything but answer, over real sockets."""

import asyncio
import ssl

import pytest

from overnight.dispatch.http1 import (
    HEAD_BYTES_MAX,
    Answer,
    Connection,
    Reply,
    Stale,
    Target,
    Timeouts,
    open_connection,
)
from overnight.domain.request import Failure, FailureKind
from overnight.seams import connect_tcp
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


# Too much, or nonsense


def test_a_reply_that_announces_or_sends_too_much_is_dropped() -> None:
    too_much = b"x" * (REPLY_BYTES_MAX + 1)
    scripts: list[Steps] = [
        [b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n", too_much, HANG],
        [*reply_chunked(*[b"x" * 10_000] * 11)[:-1], HANG],
        [b"HTTP/1.1 200 OK\r\n\r\n", too_much, HANG],
    ]
    for steps in scripts:
        answer, connection = ask_once(steps)
        assert isinstance(answer, Failure)
        assert answer.kind is FailureKind.TOO_LARGE
        assert connection.closed


def test_headers_without_end_are_cut_short() -> None:
    line = b"x-filler: " + b"y" * 1_000 + b"\r\n"
    times = HEAD_BYTES_MAX // len(line) + 2
    answer, connection = ask_once([b"HTTP/1.1 200 OK\r\n", *[line] * times, HANG])
    assert isinstance(answer, Failure)
    assert answer.kind is FailureKind.BAD_REPLY
    assert connection.closed


def test_interim_replies_without_end_are_cut_short() -> None:
    times = HEAD_BYTES_MAX // len(EARLY_HINTS) + 2
    answer, connection = ask_once([EARLY_HINTS * times, HANG])
    assert isinstance(answer, Failure)
    assert answer.kind is FailureKind.BAD_REPLY
    assert connection.closed


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x00\x05hello",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"<html></html>\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_not_http_is_a_bad_reply(garbage: bytes) -> None:
    answer, connection = ask_once([garbage, HANG])
    assert isinstance(answer, Failure)
    assert answer.kind is FailureKind.BAD_REPLY
    assert connection.closed


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
        target, connect_tcp, Timeouts(connect_seconds=5), REPLY_BYTES_MAX
    )
    assert isinstance(answer, Failure)
    assert answer.kind is FailureKind.CONNECT
    return answer


def test_a_port_where_nobody_listens() -> None:
    async def main() -> None:
        async with ScriptedUpstream([reply()]) as upstream:
            url = upstream.base_url
        failure = await failed_connect(url)
        assert failure.detail == "refuses connections"

    asyncio.run(main())


def test_tls_with_somebody_who_does_not_speak_it() -> None:
    async def main() -> None:
        async with ScriptedUpstream(
            [reply()], on_connect=[b"HTTP/1.1 400 Bad\r\n\r\n"]
        ) as upstream:
            failure = await failed_connect(upstream.base_url.replace("http:", "https:"))
            assert "TLS" in failure.detail

    asyncio.run(main())


def test_tls_with_somebody_who_hangs_up() -> None:
    async def main() -> None:
        async with ScriptedUpstream([reply()], on_connect=[CLOSE]) as upstream:
            await failed_connect(upstream.base_url.replace("http:", "https:"))

    asyncio.run(main())


def test_a_connection_that_does_not_come_about_in_time() -> None:
    async def main() -> None:
        async with ScriptedUpstream([reply()], on_connect=[HANG]) as upstream:
            target = Target.parse(upstream.base_url.replace("http:", "https:"))
            answer = await open_connection(target, connect_tcp, Timeouts(connect_seconds=0.05), 1)
            assert isinstance(answer, Failure)
            assert answer.kind is FailureKind.CONNECT
            assert "within 0.05 s" in answer.detail

    asyncio.run(main())
