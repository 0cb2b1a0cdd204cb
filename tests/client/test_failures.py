"""What people read when something is wrong: which server, what it answered, what to try."""

import socket
from pathlib import Path

import pytest

from overnight.client.client import Client, Retries, Server
from overnight.client.errors import BadReply, ClientError, Refused, Unreachable
from support.client import Waits, client_of
from support.ports import free_port
from support.scripted import CLOSE, Received, Steps, reply, reply_json
from support.scripted_thread import scripted

HTML = b"<html><head><title>502 Bad\n Gateway</title></head></html>"


def page(status: int) -> Steps:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: text/html; charset=utf-8\r\n"
    return [head.encode() + b"content-length: %d\r\n\r\n" % len(HTML) + HTML]


def ask(client: Client, path: str) -> None:
    match path:
        case "jobs":
            list(client.jobs())
        case "create":
            client.create_job("file-1", "/v1/embeddings")
        case _:
            client.job("batch_1")


def failure_of(*answers: Steps, path: str = "job", api_key: str | None = None) -> ClientError:
    with (
        scripted(list(answers)) as server,
        client_of(server.base_url, api_key=api_key) as client,
        pytest.raises(ClientError) as failure,
    ):
        ask(client, path)
    assert f"http://127.0.0.1:{server.port}" in failure.value.message
    return failure.value


def test_a_refusal_says_what_the_server_said() -> None:
    error = {"message": "No batch.", "type": "t", "param": None, "code": "not_found"}
    refusal = failure_of(reply_json({"error": error}, 404, x_request_id="req_7"))
    assert isinstance(refusal, Refused)
    assert (refusal.status, refusal.code, refusal.request_id) == (404, "not_found", "req_7")
    assert refusal.message.endswith(
        "answered 404 Not Found: No batch. (code not_found, request req_7)"
    )
    assert refusal.hint is None


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"error": "in words"}, ": in words"),
        ({"detail": "in words"}, ": in words"),
        ({"message": "in words", "code": 7}, ": in words (code 7)"),
        ({"detail": [{"loc": ["body"]}]}, ': [{"loc": ["body"]}]'),
        ({"error": {"code": None}}, ': {"code": null}'),
        ("in words", ": in words"),
        (["a"], ": ['a']"),
        ({}, ": {}"),
    ],
)
def test_words_are_found_in_every_shape(body: object, told: str) -> None:
    assert failure_of(reply_json(body, 400)).message.endswith(f"400 Bad Request{told}")


def test_what_is_no_text_is_not_sent_to_a_terminal() -> None:
    told = failure_of(reply(418, b"\x1b[31mred\x00\r\nand " + b"x" * 1000)).message
    assert told.isprintable()
    assert "[31mred and xxx" in told
    assert told.endswith("…")
    assert len(told) < 600


def test_nothing_of_a_refusal_steers_a_terminal() -> None:
    error = {"error": {"message": "No.", "code": "a\x1b[2Jb"}}
    failure = failure_of(reply_json(error, 400, x_request_id="r\x1b[8m"))
    assert failure.message.endswith("No. (code a [2Jb, request r [8m)")
    moved = failure_of(reply(307, b"", location="http://127.0.0.1:1/\x1b[8m"), path="create")
    assert (moved.hint or "").isprintable()


def test_a_page_in_between_is_told_by_its_title() -> None:
    refusal = failure_of(page(502))
    assert "answered 502 Bad Gateway: an HTML page “502 Bad Gateway”." in refusal.message
    assert refusal.hint == "Try again later."


@pytest.mark.parametrize(
    ("answers", "path"),
    [
        ([page(200)], "job"),
        ([reply(200, b"OK")], "job"),
        ([reply_json({"status": "completed"})], "job"),
        ([reply_json({"id": "batch_1"})], "job"),
        ([reply_json({"id": 7, "status": None})], "job"),
        ([reply_json([])], "job"),
        ([reply_json({"data": [{"id": "batch_1"}]})], "jobs"),
        ([reply_json({"id": "\x1b[2J", "status": "completed"})], "job"),
        ([reply(200, 100_000 * b"[")], "job"),
    ],
    ids=[
        *("page", "no JSON", "no id", "no status", "no strings", "a list", "in a list"),
        *("not for a terminal", "too deep"),
    ],
)
def test_what_is_no_batch_api_is_a_bad_reply(answers: list[Steps], path: str) -> None:
    failure = failure_of(*answers, path=path)
    assert isinstance(failure, BadReply)
    assert failure.hint is not None
    assert "--base-url" in failure.hint


@pytest.mark.parametrize(
    ("answer", "path", "in_hint"),
    [
        (reply_json({}, 404), "jobs", "--base-url"),
        (page(404), "job", "--base-url"),
        (reply_json({"error": {"code": "unknown_url"}}, 404), "job", "--base-url"),
        (reply_json({}, 401), "job", "Give a key with --api-key"),
        (reply_json({}, 429, retry_after="3600"), "job", "later"),
    ],
    ids=["list", "page", "unknown url", "no key", "too often"],
)
def test_hints_fit(answer: Steps, path: str, in_hint: str) -> None:
    assert in_hint in (failure_of(answer, path=path).hint or "")


def test_no_server_is_told_at_once_with_what_would_be_one() -> None:
    waits = Waits()
    base_url = f"http://127.0.0.1:{free_port()}"
    with client_of(base_url, waits=waits) as client, pytest.raises(Unreachable) as failure:
        client.job("batch_1")
    assert failure.value.message == f"{base_url} refused the connection."
    assert "`overnight serve`" in (failure.value.hint or "")
    assert sum(waits.seconds) < 5


def test_a_host_that_is_not_there_is_named() -> None:
    waits = Waits()
    with (
        client_of("http://no-such-host.invalid", waits=waits) as client,
        pytest.raises(Unreachable) as failure,
    ):
        client.job("batch_1")
    assert waits.seconds == []
    assert "no-such-host.invalid" in failure.value.message


def test_tls_towards_a_plain_server_is_explained() -> None:
    waits = Waits()
    with (
        scripted([], on_connect=[b"HTTP/1.1 400 Bad Request\r\n\r\n", CLOSE]) as server,
        client_of(f"https://127.0.0.1:{server.port}", waits=waits) as client,
        pytest.raises(Unreachable) as failure,
    ):
        client.job("batch_1")
    assert "TLS" in failure.value.message
    assert "http://" in (failure.value.hint or "")
    assert waits.seconds == []


def test_what_is_no_http_is_explained() -> None:
    failure = failure_of([b"SSH-2.0-OpenSSH_9.2\r\n", CLOSE])
    assert isinstance(failure, Unreachable)
    assert "https://" in (failure.hint or "")


def test_a_request_that_would_be_repeated_at_a_guess_is_not_redirected() -> None:
    with (
        scripted([reply(307, b"", location="http://127.0.0.1:1/v1/batches")]) as server,
        client_of(server.base_url) as client,
        pytest.raises(Refused, match="307") as refusal,
    ):
        client.create_job("file-1", "/v1/embeddings")
    assert "http://127.0.0.1:1/v1/batches" in (refusal.value.hint or "")


def test_a_circle_of_redirects_ends() -> None:
    def circle(request: Received) -> Steps:
        return reply(302, b"", location=request.target)

    with (
        scripted(circle) as server,
        client_of(server.base_url) as client,
        pytest.raises(ClientError, match="redirect"),
    ):
        client.job("batch_1")
    assert len(server.requests) <= 25


@pytest.mark.parametrize("key", ["a\nb", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ClientError) as failure:
        Client(Server("http://127.0.0.1:1", key))
    assert key not in str(failure.value)
    assert key not in repr(Server("http://127.0.0.1:1", key))


def test_a_proxy_is_not_asked_for_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    job = reply_json({"id": "batch_1", "status": "completed"})
    with scripted([job]) as server:
        for host in ("127.0.0.1", "localhost"):
            with client_of(f"http://{host}:{server.port}") as client:
                assert client.job("batch_1").ended


def test_a_proxy_that_can_not_be_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for proxy, words in (
        ("socks5://127.0.0.1:1080", "SOCKS proxy"),
        ("ftp://user:word@127.0.0.1", "proxy that can not be used"),
    ):
        monkeypatch.setenv("ALL_PROXY", proxy)
        with pytest.raises(ClientError, match=words) as failure:
            Client(Server("http://batch.example"))
        assert "batch.example to NO_PROXY" in (failure.value.hint or "")
        assert "user:word" not in str(failure.value)


def test_certificates_that_are_not_there_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "no-such-file.pem")
    with pytest.raises(ClientError, match="No such file") as failure:
        Client(Server("https://batch.example"))
    assert "SSL_CERT_FILE" in (failure.value.hint or "")


def test_a_proxy_is_asked_for_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    job = reply_json({"id": "batch_1", "status": "completed"})
    for name in ("no_proxy", "NO_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with scripted([job]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        with client_of("http://gpu-box.invalid:8024") as client:
            assert client.job("batch_1").ended
    assert proxy.requests[0].target == "http://gpu-box.invalid:8024/v1/batches/batch_1"


def test_a_server_that_says_nothing_is_not_waited_for_for_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = Server(f"http://127.0.0.1:{port}", timeout_seconds=0.05)
        with (
            Client(server, Retries(attempts=1)) as client,
            pytest.raises(Unreachable, match="did not answer in time"),
        ):
            client.job("batch_1")
