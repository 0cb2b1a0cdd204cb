"""What holds for every route, whoever asks."""

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from overnight.domain.api_key import ApiKey, digest_of
from overnight.domain.dialect import Dialect
from overnight.service.files import FilesOptions
from overnight.store import keys as key_rows
from overnight.store import workers
from support.api_server import TOGETHER, ApiServer, Reply, form
from support.polling import wait_for


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def asked_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """For requests that change nothing."""
    with ApiServer(tmp_path_factory.mktemp("api")) as running:
        yield running


def assert_one_shape(reply: Reply) -> None:
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"].startswith("req_")
    body = reply.json()
    assert isinstance(body, dict)
    assert list(body) == ["error"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert isinstance(body["error"]["message"], str)
    assert isinstance(body["error"]["code"], str)


@pytest.mark.parametrize("headers", [{}, TOGETHER], ids=["openai", "together"])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/v1/models", 404),
        ("GET", "/v1", 404),
        ("GET", "/openai/v1/nowhere", 404),
        ("PATCH", "/v1/files", 405),
        ("PUT", "/v1/batches/batch_1", 405),
        ("POST", "/healthz", 405),
        ("GET", "/v1/files/file-none", 404),
        ("GET", "/v1/files/..%2f..%2fsecret", 404),
        ("GET", "/v1/files/%00", 404),
        ("GET", "/v1/batches/batch_none", 404),
        ("POST", "/v1/batches/batch_none/cancel", 404),
        ("DELETE", "/v1/files/file-none", 404),
        ("POST", "/v1/files", 415),
        ("POST", "/v1/batches", 400),
        ("PUT", "/storage/nothing", 403),
    ],
)
def test_every_error_has_the_one_shape(
    asked_only: ApiServer, headers: dict[str, str], method: str, path: str, status: int
) -> None:
    reply = asked_only.ask(method, path, None, headers)
    assert reply.status == status, reply
    assert_one_shape(reply)


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=101"])
def test_a_wrong_query_is_named(asked_only: ApiServer, query: str) -> None:
    reply = asked_only.ask("GET", f"/v1/batches?{query}")
    assert (reply.status, reply.at("error", "param")) == (400, "limit")
    assert_one_shape(reply)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'"text"'])
def test_a_body_that_is_no_object_is_refused(asked_only: ApiServer, body: bytes) -> None:
    reply = asked_only.ask("POST", "/v1/batches", body, {"content-type": "application/json"})
    assert reply.status == 400
    assert_one_shape(reply)


def test_a_json_body_is_bounded(asked_only: ApiServer) -> None:
    reply = asked_only.ask("POST", "/v1/batches", b" " * 2_000_000)
    assert reply.status == 413
    assert_one_shape(reply)


def test_a_method_that_is_not_allowed_says_which_are(asked_only: ApiServer) -> None:
    assert "GET" in asked_only.ask("DELETE", "/healthz").headers["allow"]


def test_the_path_in_a_message_is_the_one_that_was_asked_for(asked_only: ApiServer) -> None:
    assert "GET /v1/models." in str(asked_only.ask("GET", "/v1/models").at("error", "message"))


def test_no_route_redirects_for_a_slash(server: ApiServer) -> None:
    assert server.ask("POST", "/v1/files/", *form({"purpose": "batch"}, b"{}")).status == 200
    assert server.ask("GET", "/healthz/").status == 404


def test_what_breaks_inside_has_the_one_shape_too(server: ApiServer) -> None:
    file_id = server.upload(b"0123")
    server.blobs.file_path(file_id).write_bytes(b"012")
    short = server.ask("GET", f"/v1/files/{file_id}/content")
    assert (short.status, short.at("error", "code")) == (500, "corrupt")
    assert short.headers["x-should-retry"] == "false"
    assert_one_shape(short)
    server.blobs.file_path(file_id).unlink()
    assert server.ask("GET", f"/v1/files/{file_id}/content").at("error", "code") == "corrupt"


def test_with_a_key_everything_but_the_probes_is_closed(tmp_path: Path) -> None:
    with ApiServer(tmp_path, api_keys=("secret",)) as server:
        for path in ("/v1/files", "/v1/nowhere", "/openai/v1/openapi.json", "/v3/whoami", "/"):
            closed = server.ask("GET", path)
            assert closed.status == 401
            assert_one_shape(closed)
        key = {"authorization": "Bearer secret"}
        assert server.ask("GET", "/v1/files", headers=key).status == 200
        assert server.ask("GET", "/healthz").status == 200
        assert server.ask("GET", "/readyz").status == 503
        body, headers = form({"purpose": "batch-api", "file_name": "a.jsonl"})
        location = server.ask("POST", "/v1/files", body, headers | key).headers["location"]
        assert server.ask("PUT", location.removeprefix(server.base_url), b"{}").status == 200


def test_whoami_names_tenant_and_key(server: ApiServer, tmp_path: Path) -> None:
    anybody = server.ask("GET", "/v3/whoami")
    assert anybody.at("organization", "id") == anybody.at("api_key", "id") == "local"
    with ApiServer(tmp_path) as keyed:
        _add_key(keyed, "on-secret", ApiKey("alice", "research", "on-secr", None, 0.0))
        told = keyed.ask("GET", "/v3/whoami", headers={"authorization": "Bearer on-secret"})
        assert told.at("api_key") == {"id": "on-secr", "name": "alice"}
        assert told.at("project", "slug") == "research"
        assert b"on-secret" not in told.body


def test_a_key_says_what_its_user_speaks_and_else_the_configuration(tmp_path: Path) -> None:
    with ApiServer(tmp_path, api_keys=("plain",), dialect=Dialect.TOGETHER) as server:
        _add_key(server, "on-o", ApiKey("o", "t", "on-o", Dialect.OPENAI, 0.0))

        def speaks_together(key: str, **headers: str) -> bool:
            reply = server.ask("GET", "/v1/batches", headers=headers | {"api-key": key})
            return isinstance(reply.json(), list)

        assert speaks_together("plain")
        assert not speaks_together("plain", **{"user-agent": "OpenAI/Python 3.52.0"})
        assert not speaks_together("on-o")
        assert speaks_together("on-o", **TOGETHER)
        assert speaks_together("on-o", **{"x-overnight-dialect": "together"})


def _add_key(server: ApiServer, secret: str, key: ApiKey) -> None:
    server.store(lambda tx: key_rows.add(tx, digest_of(secret), key))


def test_ready_when_every_part_is_there(server: ApiServer) -> None:
    assert server.ask("GET", "/healthz", headers={"host": "probe.example"}).status == 200
    missing = server.ask("GET", "/readyz")
    assert missing.status == 503
    assert missing.at("error", "message") == "Not ready; missing: clerk, worker."
    for role in ("clerk", "worker"):
        server.store(lambda tx, role=role: workers.register(tx, role, role, 0.0, 2.0**33))
    assert server.ask("GET", "/readyz").status == 200


def test_a_file_over_the_limit_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    options = FilesOptions(secret=b"s" * 32, file_bytes_max=100)
    with ApiServer(tmp_path, files=options) as server:
        refused = server.ask("POST", "/v1/files", *form({"purpose": "batch"}, b"x" * 101))
        assert (refused.status, refused.at("error", "code")) == (413, "file_too_large")
        assert_one_shape(refused)
        assert (
            server.ask("POST", "/v1/files", *form({"purpose": "batch"}, b"x" * 100)).status == 200
        )
        announced = b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999\r\n"
        kind = b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        with closing(socket.create_connection(("127.0.0.1", server.port))) as connection:
            connection.sendall(announced + kind)
            assert b" 413 " in connection.recv(4096)
        assert list((server.folder / "incoming").iterdir()) == []


def test_a_client_that_leaves_in_the_middle_leaves_nothing(server: ApiServer) -> None:
    head = (
        b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    )
    with closing(socket.create_connection(("127.0.0.1", server.port))) as connection:
        connection.sendall(head + b"x" * 4_000_000)
    server.upload()
    wait_for(lambda: not list((server.folder / "incoming").iterdir()), what="the clean-up")
    assert len(list((server.folder / "files").iterdir())) == 1


@pytest.mark.parametrize("dialect", ["openai", "together"])
def test_each_dialect_documents_itself(asked_only: ApiServer, dialect: str) -> None:
    document = asked_only.ask("GET", f"/{dialect}/v1/openapi.json")
    paths = document.at("paths")
    assert isinstance(paths, dict)
    assert {"/files", "/files/{file_id}", "/batches", "/batches/{batch_id}/cancel"} <= set(paths)
