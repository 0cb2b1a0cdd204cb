"""What never reaches a route, for it is no HTTP or too much of it, has the one shape too."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from overnight.api.protocol import HEAD_BYTES_MAX
from support.api_server import ApiServer, form

UPLOAD = b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
KIND = b"Content-Type: multipart/form-data; boundary=bound\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("api")) as running:
        yield running


def exchange(server: ApiServer, *pieces: bytes) -> bytes:
    """All that comes back until the server hangs up."""
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=20)) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def assert_refused(reply: bytes, status: int, code: str) -> str:
    """The one shape, once; returns its message."""
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), reply
    assert b"\r\ncontent-type: application/json" in head
    assert b"\r\nx-request-id: req_" in head
    assert b"\r\nconnection: close" in head
    error = json.loads(body)["error"]
    assert error["code"] == code
    assert error["type"] == "invalid_request_error"
    return str(error["message"])


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /v1/files HTTP/1.1\r\nno colon here\r\n\r\n",
        b"GET /v1/files HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/files HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://[half HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["word", "header", "negative", "twice", "http2", "connect", "address", "tls"],
)
def test_what_is_no_http_is_told_so(server: ApiServer, request_bytes: bytes) -> None:
    message = assert_refused(exchange(server, request_bytes), 400, "invalid_http")
    assert "HTTP/1.1" in message


def test_bad_chunks_end_an_upload_with_one_answer(server: ApiServer) -> None:
    reply = exchange(server, UPLOAD + KIND + b"4\r\n--bo\r\n", b"xyz\r\n")
    assert_refused(reply, 400, "invalid_http")
    assert reply.count(b"HTTP/1.1 400") == 1


def test_a_head_that_is_too_large_is_told_the_limit(server: ApiServer) -> None:
    for piece in (b"X-Long: " + b"x" * HEAD_BYTES_MAX, b"X-Many: 1\r\n" * (HEAD_BYTES_MAX // 7)):
        reply = exchange(server, b"GET /healthz HTTP/1.1\r\n" + piece + b"\r\n\r\n")
        assert f"{HEAD_BYTES_MAX:,} bytes" in assert_refused(reply, 431, "headers_too_large")
    address = b"GET /healthz?" + b"x" * HEAD_BYTES_MAX + b" HTTP/1.1\r\n\r\n"
    assert_refused(exchange(server, address), 431, "headers_too_large")


def test_a_head_without_end_is_not_waited_for(server: ApiServer) -> None:
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=20)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX-Long: ")
        with pytest.raises(ConnectionError):
            send_without_end(connection)


def send_without_end(connection: socket.socket) -> None:
    for _ in range(10_000):
        connection.sendall(b"x" * 4096)


def test_a_large_head_under_the_limit_is_read(server: ApiServer) -> None:
    reply = server.ask("GET", "/healthz", headers={"x-long": "x" * (HEAD_BYTES_MAX - 1000)})
    assert reply.status == 200


def test_a_body_is_no_head_however_large(server: ApiServer) -> None:
    body, headers = form({"purpose": "batch"}, b"x" * (8 * HEAD_BYTES_MAX))
    assert server.ask("POST", "/v1/files", body, headers).status == 200


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
def test_an_offer_of_another_protocol_is_left_out(server: ApiServer, protocol: str) -> None:
    offer = {"connection": "Upgrade, HTTP2-Settings", "upgrade": protocol}
    assert server.ask("GET", "/v1/files", headers=offer).status == 200
    body, kind = form({"purpose": "batch"}, b"x" * (2 * HEAD_BYTES_MAX))
    for sent in (body, iter([body[:100], body[100:]])):
        stored = server.ask("POST", "/v1/files", sent, offer | kind)
        assert stored.at("bytes") == 2 * HEAD_BYTES_MAX


def test_an_offer_in_pieces_on_a_connection_that_is_kept(server: ApiServer) -> None:
    offer = (
        b"HEAD /healthz HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\nHost: localhost\r\n\r\n"
    )
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=20)) as connection:
        for _ in range(3):
            for place in range(0, len(offer), 7):
                connection.sendall(offer[place : place + 7])
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_head_tells_what_get_would_without_its_body(server: ApiServer) -> None:
    file_id = server.upload(b"x" * 3_000_000)
    for path in ("/healthz", "/v1/files", f"/v1/files/{file_id}", f"/v1/files/{file_id}/content"):
        got, told = server.ask("GET", path), server.ask("HEAD", path)
        assert (told.status, told.body) == (200, b"")
        assert told.headers["content-length"] == str(len(got.body))
        assert told.headers["content-type"] == got.headers["content-type"]
    assert server.ask("HEAD", "/v1/files/file-none").status == 404


def test_options_and_405_name_every_method_of_the_path(server: ApiServer) -> None:
    for path, allowed in {
        "/v1/files": "GET, HEAD, OPTIONS, POST",
        "/v1/files/file-1": "DELETE, GET, HEAD, OPTIONS",
        "/v1/batches/batch_1/cancel": "OPTIONS, POST",
        "/healthz": "GET, HEAD, OPTIONS",
    }.items():
        told = server.ask("OPTIONS", path)
        assert (told.status, told.headers["allow"], told.body) == (204, allowed, b"")
        refused = server.ask("PATCH", path)
        assert (refused.status, refused.headers["allow"]) == (405, allowed)
        assert f"PATCH is not for {path}; what is: {allowed}." == refused.at("error", "message")
    assert server.ask("OPTIONS", "/v1/nowhere").status == 404


def test_what_the_end_of_the_process_cuts_off_is_told_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overnight.api.server.GRACE_SECONDS", 1)
    with ApiServer(tmp_path) as server:
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        connection.sendall(UPLOAD + KIND + b"9\r\n--bound\r\n\r\n")
        # Answered in turn, so the upload above is under way.
        server.ask("GET", "/healthz")
    with closing(connection):
        reply = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: " in head
    assert b"\r\nx-request-id: req_" in head
    assert json.loads(body)["error"]["code"] == "unavailable"
