"""The HTTP client and well-formed replies, over real sockets."""

import pytest

from overnight.dispatch.http1 import Connection, Reply, Stale
from overnight.dispatch.target import Target
from overnight.domain.request import Failure, FailureKind
from support.http_client import (
    BODY,
    FORMS,
    ask_once,
    closed,
    exchange,
    on_one_connection,
    raw,
)
from support.scripted import (
    CLOSE,
    CONTINUE,
    EARLY_HINTS,
    RESET,
    End,
    Pause,
    ScriptedUpstream,
    Steps,
    reply,
    reply_chunked,
    reply_http_1_0,
)


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
        assert request.headers["accept-encoding"] == "identity"

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
