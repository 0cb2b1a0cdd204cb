"""The HTTP client against an upstream that does anything, over real sockets."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

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
from overnight.domain.errors import ConfigurationError
from overnight.domain.request import Failure, FailureKind
from overnight.seams import connect_tcp
from support.scripted import (
    CLOSE,
    CONTINUE,
    EARLY_HINTS,
    HANG,
    RESET,
    End,
    Pause,
    ScriptedUpstream,
    Steps,
    reply,
    reply_chunked,
    reply_http_1_0,
)

REPLY_BYTES_MAX = 100_000
PATIENT = Timeouts(connect_seconds=5, first_byte_seconds=20, idle_seconds=20)
BODY = b'{"model":"m"}'


def raw(steps: Steps) -> bytes:
    """All that a script writes."""
    return b"".join(step for step in steps if isinstance(step, bytes))


def message(url: str) -> bytes:
    return Target.parse(url).post_head("/x") + b"%d\r\n\r\n%b" % (len(BODY), BODY)


async def connect(upstream: ScriptedUpstream, timeouts: Timeouts = PATIENT) -> Connection:
    target = Target.parse(upstream.base_url)
    connection = await open_connection(target, connect_tcp, timeouts, REPLY_BYTES_MAX)
    assert isinstance(connection, Connection)
    return connection


async def exchange(
    upstream: ScriptedUpstream, connection: Connection, timeouts: Timeouts = PATIENT
) -> Answer:
    async with asyncio.timeout(20):
        return await connection.send(message(upstream.base_url), timeouts.first_byte_seconds)


@asynccontextmanager
async def swept(connection: Connection) -> AsyncIterator[None]:
    """Look at the connection's deadline often, as a lane does."""

    async def sweep() -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection.sweep(loop.time())
            await asyncio.sleep(0.005)

    async with asyncio.TaskGroup() as tasks:
        sweeper = tasks.create_task(sweep())
        yield
        sweeper.cancel()


def ask_once(steps: Steps) -> tuple[Answer, Connection]:
    async def ask() -> tuple[Answer, Connection]:
        async with ScriptedUpstream([steps]) as upstream:
            connection = await connect(upstream)
            answer = await exchange(upstream, connection)
            try:
                return answer, connection
            finally:
                connection.end(Stale())

    return asyncio.run(ask())


def on_one_connection(
    script: list[Steps], use: Callable[[ScriptedUpstream, Connection], Awaitable[None]]
) -> None:
    async def main() -> None:
        async with ScriptedUpstream(script) as upstream:
            connection = await connect(upstream)
            await use(upstream, connection)
            connection.end(Stale())

    asyncio.run(main())


async def closed(connection: Connection) -> None:
    """Wait until the connection has noticed that the server closed it."""
    async with asyncio.timeout(10):
        while not connection.closed:  # noqa: ASYNC110  what is tested must not tell us
            await asyncio.sleep(0.001)


# Whole replies, in every form


FORMS: dict[str, Steps] = {
    "content-length": reply(200, b'{"a":1}'),
    "chunked": reply_chunked(b'{"a"', b":", b"1}"),
    "chunked in one write": [raw(reply_chunked(b'{"a":', b"1}"))],
    "chunk extensions and trailers": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n",
        b'7;ext="x"\r\n{"a":1}\r\n0\r\nx-trailer: 1\r\n\r\n',
    ],
    "until the end": [b'HTTP/1.1 200 OK\r\n\r\n{"a":1}', CLOSE],
    "until the end, in pieces": [b"HTTP/1.1 200 OK\r\n\r\n", b'{"a"', Pause(0.01), b":1}", CLOSE],
    "HTTP/1.0": reply_http_1_0(b'{"a":1}'),
    "HTTP/1.0 with a length": [b'HTTP/1.0 200 OK\r\ncontent-length: 7\r\n\r\n{"a":1}', CLOSE],
    "after a hint": [EARLY_HINTS, *reply(200, b'{"a":1}')],
    "after a hint, in one write": [EARLY_HINTS + raw(reply(200, b'{"a":1}'))],
    "after 100 and three hints": [CONTINUE, *[EARLY_HINTS] * 3, *reply(200, b'{"a":1}')],
    "a byte at a time": [bytes([byte]) for byte in raw(reply(200, b'{"a":1}'))],
    "connection: close": reply(200, b'{"a":1}', connection="close"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_whole_reply_is_taken_in_every_form(form: str) -> None:
    answer, _ = ask_once(FORMS[form])
    assert isinstance(answer, Reply)
    assert (answer.status, answer.body) == (200, b'{"a":1}')


def test_headers_that_matter_are_read_in_any_case() -> None:
    answer, _ = ask_once(reply(429, b"{}", X_Request_ID="abc", RETRY_AFTER="7"))
    assert isinstance(answer, Reply)
    assert (answer.status, answer.request_id, answer.retry_after) == (429, b"abc", b"7")


def test_headers_of_an_interim_reply_are_not_those_of_the_reply() -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nx-request-id: no\r\nretry-after: 9\r\n\r\n"
    answer, _ = ask_once([hint, *reply(200, b"{}")])
    assert isinstance(answer, Reply)
    assert (answer.request_id, answer.retry_after) == (b"", b"")


def test_a_reply_without_a_body_is_whole() -> None:
    answer, _ = ask_once([b"HTTP/1.1 204 No Content\r\n\r\n"])
    assert isinstance(answer, Reply)
    assert (answer.status, answer.body) == (204, b"")


def test_a_large_chunked_reply_arrives_byte_for_byte() -> None:
    pieces = [bytes([65 + i % 26]) * (i * 37 % 2_000 + 1) for i in range(90)]
    answer, _ = ask_once(reply_chunked(*pieces))
    assert isinstance(answer, Reply)
    assert answer.body == b"".join(pieces)


def test_the_request_arrives_as_it_was_meant() -> None:
    async def use(upstream: ScriptedUpstream, connection: Connection) -> None:
        target = Target.parse(upstream.base_url + "/", api_key="sk-1")
        head = target.post_head("/chat/completions")
        await connection.send(head + b"%d\r\n\r\n%b" % (len(BODY), BODY), 10)
        (request,) = upstream.requests
        assert (request.method, request.target) == ("POST", "/v1/chat/completions")
        assert request.body == BODY
        assert request.headers["host"] == f"127.0.0.1:{upstream.port}"
        assert request.headers["authorization"] == "Bearer sk-1"
        assert request.headers["content-type"] == "application/json"
        assert "accept-encoding" not in request.headers

    on_one_connection([reply()], use)


# One connection, many exchanges


def test_a_connection_is_used_again_and_again() -> None:
    async def use(upstream: ScriptedUpstream, connection: Connection) -> None:
        for number in range(3):
            answer = await exchange(upstream, connection)
            assert isinstance(answer, Reply)
            assert answer.body == b"%d" % number
        assert [request.connection for request in upstream.requests] == [0, 0, 0]

    on_one_connection(
        [reply(200, b"0"), reply_chunked(b"1"), [EARLY_HINTS, *reply(200, b"2")]], use
    )


@pytest.mark.parametrize(
    "last",
    [
        reply(200, b"{}", connection="close"),
        reply_http_1_0(b"{}"),
        [b"HTTP/1.1 200 OK\r\n\r\n{}", CLOSE],
    ],
)
def test_a_connection_that_ends_with_its_reply_is_not_used_again(last: Steps) -> None:
    async def use(upstream: ScriptedUpstream, connection: Connection) -> None:
        assert isinstance(await exchange(upstream, connection), Reply)
        assert connection.closed
        assert isinstance(await exchange(upstream, connection), Stale)
        assert len(upstream.requests) == 1

    on_one_connection([last], use)


def test_an_idle_connection_that_the_server_closed_is_stale() -> None:
    async def use(upstream: ScriptedUpstream, connection: Connection) -> None:
        assert isinstance(await exchange(upstream, connection), Reply)
        await closed(connection)
        assert isinstance(await exchange(upstream, connection), Stale)

    on_one_connection([[*reply(), Pause(0.02), CLOSE]], use)


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_a_used_connection_that_ends_unread_is_stale(end: End) -> None:
    """The server may have closed it in the moment the request was on its way."""

    async def use(upstream: ScriptedUpstream, connection: Connection) -> None:
        assert isinstance(await exchange(upstream, connection), Reply)
        assert isinstance(await exchange(upstream, connection), Stale)

    on_one_connection([reply(), [end]], use)


@pytest.mark.parametrize(
    "first_bytes", [b"H", EARLY_HINTS, CONTINUE + b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\n"]
)
def test_a_used_connection_that_has_said_anything_is_not_stale(first_bytes: bytes) -> None:
    async def use(upstream: ScriptedUpstream, connection: Connection) -> None:
        assert isinstance(await exchange(upstream, connection), Reply)
        answer = await exchange(upstream, connection)
        assert isinstance(answer, Failure)
        assert answer.kind is FailureKind.RESET

    on_one_connection([reply(), [first_bytes, CLOSE]], use)


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_a_fresh_connection_that_ends_unanswered_is_a_failure(end: End) -> None:
    answer, _ = ask_once([end])
    assert isinstance(answer, Failure)
    assert answer.kind is FailureKind.RESET


def test_a_goodbye_on_an_idle_connection_is_nobodys_reply() -> None:
    async def use(upstream: ScriptedUpstream, connection: Connection) -> None:
        assert isinstance(await exchange(upstream, connection), Reply)
        await closed(connection)
        assert isinstance(await exchange(upstream, connection), Stale)

    on_one_connection([[*reply(), Pause(0.02), *reply(408, b"{}", connection="close")]], use)


def test_a_second_reply_in_the_same_breath_closes_the_connection() -> None:
    answer, connection = ask_once([raw(reply(200, b"first")) + raw(reply(200, b"stray"))])
    assert isinstance(answer, Reply)
    assert answer.body == b"first"
    assert connection.closed


def test_bytes_beyond_the_length_close_the_connection() -> None:
    answer, connection = ask_once([raw(reply(200, b"{}")) + b"garbage"])
    assert isinstance(answer, Reply)
    assert answer.body == b"{}"
    assert connection.closed


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
    for steps in (
        [b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n", too_much, HANG],
        [*reply_chunked(*[b"x" * 10_000] * 11)[:-1], HANG],
        [b"HTTP/1.1 200 OK\r\n\r\n", too_much, HANG],
    ):
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


# Targets


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "authority"),
    [
        ("http://127.0.0.1:8000/v1", "127.0.0.1", 8000, "/v1", "127.0.0.1:8000"),
        ("http://gpu/v1/", "gpu", 80, "/v1", "gpu"),
        ("https://api.example.com", "api.example.com", 443, "", "api.example.com"),
        ("http://[::1]:9/v1", "::1", 9, "/v1", "[::1]:9"),
        ("http://me:secret@gpu:9/v1", "gpu", 9, "/v1", "gpu:9"),
    ],
)
def test_a_url_is_taken_apart(url: str, host: str, port: int, path: str, authority: str) -> None:
    target = Target.parse(url)
    assert (target.host, target.port, target.path, target.authority) == (
        host,
        port,
        path,
        authority,
    )
    assert (target.tls is not None) == url.startswith("https")


def test_certificates_are_verified() -> None:
    tls = Target.parse("https://api.example.com").tls
    assert tls is not None
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert tls.check_hostname


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000/v1",
        "ftp://host/v1",
        "http:///v1",
        "http://host:99999/v1",
        "http://host:x/v1",
        "http://a..b/v1",
        f"http://{'a' * 70}/v1",
        "http://ho st/v1",
        "http://host/v 1",
        "http://host/€",
        "",
    ],
)
def test_what_is_no_url_is_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigurationError, match="upstream"):
        Target.parse(url)
