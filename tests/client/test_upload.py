"""Uploads, step by step, to servers that answer all that they may."""

import json
from pathlib import Path

import pytest

from overnight.client.errors import BadReply, ClientError, Refused, Unreachable
from overnight.client.server import Address, Server
from overnight.client.together import place_of
from support.client import Waits, client_of
from support.scripted import CLOSE, Received, Steps, reply, reply_json
from support.scripted_thread import scripted

FILE = {"id": "file-1", "object": "file", "filename": "in.jsonl", "bytes": 6}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"hello\n")
    return path


def test_a_form_has_its_length_and_the_purpose_first(path: Path) -> None:
    with scripted([reply_json(FILE)]) as server, client_of(server.base_url) as client:
        assert client.upload(path, name='a "b".jsonl').id == "file-1"
    (request,) = server.requests
    assert int(request.headers["content-length"]) == len(request.body)
    assert "transfer-encoding" not in request.headers
    assert request.headers["x-overnight-dialect"] == "openai"
    purpose, file = request.body.split(b"Content-Disposition")[1:]
    assert b"\r\n\r\nbatch\r\n" in purpose
    assert b'filename="a %22b%22.jsonl"' in file
    assert b"\r\n\r\nhello\n\r\n" in file


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_given_the_whole_file_again(path: Path, status: int) -> None:
    waits = Waits()
    sent: list[int] = []
    script = [reply_json({}, status, retry_after="7"), reply_json(FILE)]
    with scripted(script) as server, client_of(server.base_url, waits=waits) as client:
        client.upload(path, on_bytes=sent.append)
    first, second = server.requests
    assert first.headers["content-length"] == second.headers["content-length"]
    assert b"hello\n" in second.body
    assert sent == [6, 6]
    assert waits.seconds == [7.0]


@pytest.mark.parametrize("answer", [reply(500), reply(502), [CLOSE]], ids=["500", "502", "cut"])
def test_nothing_is_sent_twice_on_a_guess(path: Path, answer: Steps) -> None:
    with (
        scripted([answer, reply_json(FILE)]) as server,
        client_of(server.base_url) as client,
        pytest.raises((Refused, Unreachable)),
    ):
        client.upload(path)
    assert len(server.requests) == 1


class Storage:
    """A Together server: names a place, takes the bytes, confirms."""

    def __init__(self, status: int = 302) -> None:
        self.status = status
        self.put_replies = [reply(200, b"")]
        self.place = "http://{host}/storage/1?sign=abc"

    def __call__(self, request: Received) -> Steps:
        if request.method == "PUT":
            return self.put_replies.pop(0)
        if request.target.endswith("/preprocess"):
            return reply_json(FILE)
        place = self.place.format(host=request.headers["host"])
        return reply(self.status, b"", location=place, x_together_file_id="file-1")


@pytest.mark.parametrize("status", [200, 302, 307])
def test_together_names_a_place_and_the_key_does_not_go_there(path: Path, status: int) -> None:
    with (
        scripted(Storage(status)) as server,
        client_of(server.base_url, "together", api_key="secret") as client,
    ):
        assert client.upload(path).name == "in.jsonl"
    ask, put, confirm = server.requests
    assert (ask.method, ask.target) == ("POST", "/v1/files")
    assert ask.body == b"purpose=batch-api&file_name=in.jsonl&file_type=jsonl"
    assert (put.method, put.target, put.body) == ("PUT", "/storage/1?sign=abc", b"hello\n")
    assert put.headers["content-length"] == "6"
    assert "authorization" not in put.headers
    assert "x-overnight-dialect" not in put.headers
    assert (confirm.method, confirm.target) == ("POST", "/v1/files/file-1/preprocess")
    assert confirm.headers["authorization"] == "Bearer secret"


def test_a_place_may_be_relative(path: Path) -> None:
    storage = Storage()
    storage.place = "/storage/1"
    with scripted(storage) as server, client_of(server.base_url, "together") as client:
        client.upload(path)
    assert server.requests[1].target == "/storage/1"


def test_a_busy_place_is_given_the_whole_file_again(path: Path) -> None:
    storage = Storage()
    storage.put_replies = [reply(503), reply(200, b"")]
    with scripted(storage) as server, client_of(server.base_url, "together") as client:
        client.upload(path)
    assert [r.body for r in server.requests if r.method == "PUT"] == [b"hello\n"] * 2


def test_a_place_that_refuses_ends_the_upload(path: Path) -> None:
    storage = Storage()
    storage.put_replies = [reply_json({"error": {"message": "too big"}}, 413)]
    with (
        scripted(storage) as server,
        client_of(server.base_url, "together") as client,
        pytest.raises(Refused, match="too big"),
    ):
        client.upload(path)
    assert len(server.requests) == 2


def test_a_file_that_is_there_already_is_taken(path: Path) -> None:
    with scripted([reply_json(FILE)]) as server, client_of(server.base_url, "together") as client:
        assert client.upload(path).id == "file-1"
    assert len(server.requests) == 1


def test_a_place_without_an_id_is_a_bad_reply(path: Path) -> None:
    with (
        scripted([reply(302, b"", location="/x")]) as server,
        client_of(server.base_url, "together") as client,
        pytest.raises(BadReply, match="X-Together-File-Id"),
    ):
        client.upload(path)


def test_a_file_goes_nowhere_less_safe_than_the_server() -> None:
    address = Address.of(Server("https://api.together.ai"))
    assert place_of(address, "/a") == "https://api.together.ai/a"
    with pytest.raises(BadReply, match="unencrypted"):
        place_of(address, "http://elsewhere/a")


@pytest.mark.parametrize("name", ["none.jsonl", "."])
def test_a_file_that_can_not_be_read_is_not_announced(tmp_path: Path, name: str) -> None:
    with (
        scripted([reply_json(FILE)]) as server,
        client_of(server.base_url) as client,
        pytest.raises(ClientError) as failure,
    ):
        client.upload(tmp_path / name)
    assert str(tmp_path) in failure.value.message
    assert server.requests == []


def test_a_job_is_asked_for_with_the_same_key_each_time() -> None:
    job = {"id": "batch_1", "status": "validating"}
    with (
        scripted([reply(503), reply_json(job), reply_json({"job": job}, 201)]) as server,
        client_of(server.base_url) as client,
        client_of(server.base_url, "together") as together,
    ):
        client.create_job("file-1", "/v1/embeddings")
        assert together.create_job("file-1", "/v1/embeddings").id == "batch_1"
    first, again, other = (request.headers["idempotency-key"] for request in server.requests)
    assert first == again != other
    wish = {"input_file_id": "file-1", "endpoint": "/v1/embeddings"}
    assert json.loads(server.requests[0].body) == wish | {"completion_window": "24h"}
    assert json.loads(server.requests[2].body) == wish
