"""Requests that are malformed, ambiguous or meant to trick: each is answered with 4xx in the one
shape, and its connection goes on only where both sides agree what comes next."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.service.files import FilesOptions
from support.api_server import TOGETHER, ApiServer, form
from support.raw_http import ask_raw, connected, read_reply, read_to_end, request

GET = b"GET /v1/files HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/batches HTTP/1.1\r\nHost: localhost\r\n"
FILE_BYTES_MAX = 40_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    options = FilesOptions(secret=b"s" * 32, file_bytes_max=FILE_BYTES_MAX)
    with ApiServer(tmp_path_factory.mktemp("api"), files=options) as running:
        yield running


AMBIGUOUS = {
    "no host": b"GET /v1/files HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: localhost\r\n\r\n",
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "the same length twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "a signed length": POST + b"Content-Length: +2\r\n\r\n{}",
    "a hex length": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "an endless length": POST + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "chunks twice over": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunks not last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "an unknown transfer": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "gzip in transfer": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded header": GET + b"X-A: b\r\n c\r\n\r\n",
    "a folded length": POST + b"X-A: b\r\n Content-Length: 2\r\n\r\n{}",
    "NUL in a header": GET + b"X-A: b\x00c\r\n\r\n",
    "CR in a header": GET + b"X-A: b\rX-B: c\r\n\r\n",
    "a bad chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a large chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}",
    "a negative chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
    "a space in the path": b"GET /v1/fi les HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "NUL in the path": b"GET /v1/\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "bytes in the path": b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no version": b"GET /v1/files\r\n\r\n",
    "version 3": b"GET /v1/files HTTP/3.0\r\nHost: localhost\r\n\r\n",
    "an unknown method": b"STEAL /v1/files HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an address alone": b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a connect": b"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "another host": b"GET /v1/files HTTP/1.1\r\nHost: evil.example\r\n\r\n",
}

CLEAR_ENDS = {"gzip in transfer", "an address alone", "another host"}
"""Refused for what they say; where they end nobody doubts."""


@pytest.mark.parametrize("trick", AMBIGUOUS)
def test_what_is_ambiguous_is_refused(server: ApiServer, trick: str) -> None:
    reply = ask_raw(server.port, AMBIGUOUS[trick])
    assert 400 <= reply.status < 500, reply
    assert reply.code
    assert reply.headers["x-request-id"]


@pytest.mark.parametrize("trick", sorted(AMBIGUOUS.keys() - CLEAR_ENDS))
def test_what_hides_behind_it_is_not_carried_out(server: ApiServer, trick: str) -> None:
    """A second request behind the first, which a proxy may have taken for its body."""
    with connected(server.port) as client:
        client.sendall(AMBIGUOUS[trick] + request("GET", "/healthz"))
        client.shutdown(socket.SHUT_WR)
        assert b'"ok"' not in read_to_end(client)


PATHS = [
    "/v1/files/../../etc/passwd",
    "/v1/files/..%2f..%2fovernight.sqlite3/content",
    "/v1/files/%2e%2e/content",
    "/v1/files/%00/content",
    "/v1/files/file-1%00.jsonl",
    "/v1/files/%ff%fe",
    "/v1/files/%E2%80%AE",
    "//v1//files//x",
    "/v1/files//content",
    "/v1/./files/x",
    "/v1/files/x;a=b",
    "/v1/files/x%0d%0aSet-Cookie:%20a",
    "/storage/..%2f..%2fsecret",
    "/storage/a.b.c.d",
    "/storage/%C3%A9.1.-.x",
    "/openai/v1/files/%252e%252e",
    "/openai/deployments/..%2f..%2f/files/x",
    "/v1/batches/' OR 1=1 --/cancel".replace(" ", "%20"),
    "/v1/" + "a/" * 8_000,
    "/v1/files/" + "%41" * 8_000,
    "/v1/files?limit=99999999999999999999",
    "/v1/files?limit=-1",
    "/v1/files?after=" + "x" * 30_000,
    "/v1/batches?limit=1&limit=2&limit=x",
]


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "POST"])
def test_no_path_leads_anywhere_else(server: ApiServer, method: str) -> None:
    for path in PATHS:
        reply = ask_raw(server.port, request(method, path))
        assert 400 <= reply.status < 500, (path, reply)
        assert reply.code
        assert "set-cookie" not in reply.headers
        assert len(reply.body) < 2_000


def test_the_whole_address_is_read_by_its_path(server: ApiServer) -> None:
    assert ask_raw(server.port, request("GET", "http://localhost/healthz")).status == 200
    assert ask_raw(server.port, request("GET", "http://evil.example/nowhere")).status == 404


NAMES = [
    "../../etc/passwd",
    "..\\..\\boot.ini",
    "/etc/passwd",
    "C:\\a\\b.jsonl",
    'a"b.jsonl',
    "a;b=c.jsonl",
    "a%0d%0aSet-Cookie: x",
    "\u202egnp.jsonl",
    "é漢😀.jsonl",
    "a\u2028b",
    "~",
    "-rf",
    "CON",
    "a" * 255,
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_only_ever_names(server: ApiServer, name: str) -> None:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    body, kind = form({"purpose": "batch"}, b"0123", escaped)
    stored = server.ask("POST", "/v1/files", body, kind)
    assert stored.status == 200, stored
    shown = stored.at("filename")
    assert isinstance(shown, str)
    assert "/" not in shown
    assert "\\" not in shown
    content = server.ask("GET", f"/v1/files/{stored.at('id')}/content")
    assert content.body == b"0123"
    assert "set-cookie" not in content.headers
    disposition = content.headers["content-disposition"]
    assert disposition.startswith('attachment; filename="')
    assert disposition.isascii()
    assert disposition.isprintable()
    assert disposition.count('"') == 2
    assert server.ask("GET", f"/v1/files/{stored.at('id')}", headers=TOGETHER).status == 200
    folder = {path.name for path in server.folder.rglob("*")}
    assert shown not in folder


@pytest.mark.parametrize(
    "name", ["..", ".", "a\x1b[2J", "a\x7f", "a" * 256, "a" * 10_000, "é" * 128]
)
def test_names_that_are_none_are_refused(server: ApiServer, name: str) -> None:
    refused = server.ask("POST", "/v1/files", *form({"purpose": "batch"}, b"{}", name))
    assert (refused.status, refused.at("error", "type")) == (400, "invalid_request_error")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd", "br", "gzip, gzip", "x"])
@pytest.mark.parametrize("dialect", [{}, TOGETHER], ids=["openai", "together"])
def test_nothing_is_unpacked(server: ApiServer, coding: str, dialect: dict[str, str]) -> None:
    body, kind = form({"purpose": "batch"}, b"{}")
    for method, path in (("POST", "/v1/files"), ("POST", "/v1/batches"), ("PUT", "/storage/a")):
        headers = kind | dialect | {"content-encoding": coding}
        refused = server.ask(method, path, body, headers)
        assert (refused.status, refused.at("error", "code")) == (415, "unsupported_media_type")
        assert refused.headers["accept-encoding"] == "identity"
    plain = kind | {"content-encoding": "identity"}
    assert server.ask("POST", "/v1/files", body, plain).status == 200


WISH = b'{"input_file_id":"file-1","endpoint":"/v1/chat/completions","completion_window":"24h"'
BODIES = {
    "not utf-8": WISH + b',"metadata":{"a":"\xff"}}',
    "half a pair": WISH + b',"metadata":{"a":"\\ud800"}}',
    "NaN": WISH + b',"metadata":{"a":NaN}}',
    "deep": WISH + b',"metadata":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep in what is ignored": WISH + b',"x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
    "a long number": WISH + b',"metadata":' + b"9" * 100_000 + b"}",
    "a long exponent": WISH + b',"metadata":1e' + b"9" * 100_000 + b"}",
    "NUL": b"\0" * 100,
    "an array": b"[" + WISH + b"}]",
    "null": b"null",
    "a string": b'"a"',
    "cut off": WISH,
    "a duplicate of another type": WISH + b',"input_file_id":7}',
    "many keys": b"{" + b",".join(b'"%d":1' % n for n in range(80_000)) + b"}",
    "a form": b"input_file_id=file-1&endpoint=x",
}


@pytest.mark.parametrize("path", ["/v1/batches", "/v1/uploads", "/v1/files/multipart/initiate"])
@pytest.mark.parametrize("body", BODIES)
def test_json_that_is_none_is_refused(server: ApiServer, path: str, body: str) -> None:
    refused = server.ask("POST", path, BODIES[body], {"content-type": "application/json"})
    assert 400 <= refused.status < 500, refused
    error = refused.at("error")
    assert isinstance(error, dict)
    assert len(error["message"]) < 500


def test_huge_json_is_refused_before_it_is_there(server: ApiServer) -> None:
    refused = server.ask("POST", "/v1/batches", (b"[" * 65_536 for _ in range(1_600)))
    assert (refused.status, refused.at("error", "code")) == (413, "request_too_large")


FORM = b"Content-Type: multipart/form-data; boundary=bound\r\n"
FILE = b'--bound\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


def test_an_upload_over_the_limit_hears_so_whatever_it_announced(server: ApiServer) -> None:
    """Also when the client only reads once it has sent, and when it wants the connection closed."""
    announced = b"Content-Length: %d\r\n" % (FILE_BYTES_MAX + 10_000_000)
    for framing in (announced, announced + b"Connection: close\r\n"):
        with connected(server.port) as client:
            client.sendall(b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\n" + FORM + framing)
            client.sendall(b"\r\n" + FILE + b"x" * 8_000_000)
            reply, _ = read_reply(client)
            assert (reply.status, reply.code) == (413, "file_too_large")
    with connected(server.port) as client:
        chunked = b"Transfer-Encoding: chunked\r\n\r\n"
        client.sendall(b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\n" + FORM + chunked)
        client.sendall(b"%x\r\n%b\r\n" % (len(FILE), FILE))
        chunk = b"%x\r\n%b\r\n" % (1_000_000, b"x" * 1_000_000)
        for _ in range(FILE_BYTES_MAX // 1_000_000 + 8):
            client.sendall(chunk)
        reply, _ = read_reply(client)
        assert (reply.status, reply.code) == (413, "file_too_large")
    assert list((server.folder / "incoming").iterdir()) == []


def test_a_body_may_be_asked_for_first(server: ApiServer) -> None:
    body, _ = form({"purpose": "batch"}, b"{}")
    head = b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n" + FORM
    with connected(server.port) as client:
        client.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
        assert read_reply(client)[0].status == 100
        client.sendall(body)
        assert read_reply(client)[0].status == 200
    with connected(server.port) as client:
        client.sendall(head + b"Content-Length: 9999999999\r\n\r\n")
        assert read_reply(client)[0].code == "file_too_large"
        # What comes now can be the body or another request: it is neither.
        client.sendall(request("GET", "/healthz"))
        assert read_to_end(client) == b""


def test_a_form_has_an_end_whatever_it_is_made_of(server: ApiServer) -> None:
    part = b'--bound\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    for filling in (part * 30_000, b"\r\n" * 2_000_000, part + b"--bound--\r\n" + b"x" * 3_000_000):
        refused = server.ask(
            "POST", "/v1/files", filling, {"content-type": "multipart/form-data; boundary=bound"}
        )
        assert refused.status == 413
        assert refused.at("error", "code")
    fields = b"&".join(b"a%d=b" % n for n in range(80_000))
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert server.ask("POST", "/v1/files", fields, kind).status == 413


def test_pipelined_requests_are_answered_in_order(server: ApiServer) -> None:
    body, _ = form({"purpose": "batch"}, b"x" * 200_000)
    upload = b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\n" + FORM
    asked = [request("GET", "/healthz"), request("GET", "/nowhere")] * 50
    asked += [upload + b"Content-Length: %d\r\n\r\n" % len(body) + body, request("GET", "/healthz")]
    with connected(server.port) as client:
        client.sendall(b"".join(asked))
        rest, statuses = b"", []
        for _ in asked:
            reply, rest = read_reply(client, rest)
            statuses.append(reply.status)
    assert statuses == [200, 404] * 50 + [200, 200]


def test_what_is_whole_is_answered_before_what_is_broken(server: ApiServer) -> None:
    with connected(server.port) as client:
        client.sendall(request("GET", "/v1/files") * 3 + b"nonsense\r\n\r\n")
        received = read_to_end(client)
    assert received.count(b"HTTP/1.1 200 ") == 3
    assert received.count(b"HTTP/1.1 ") <= 4


def test_offers_of_another_protocol_in_a_row_do_not_pile_up(server: ApiServer) -> None:
    offer = request("GET", "/healthz", connection="upgrade", upgrade="h2c")
    with connected(server.port) as client:
        client.sendall(offer * 3_000)
        reply, _ = read_reply(client)
        assert reply.status == 200
    assert server.ask("GET", "/healthz").status == 200


@pytest.mark.parametrize("method", ["TRACE", "PATCH", "PROPFIND", "PURGE", "LINK"])
def test_methods_that_are_none_of_ours(server: ApiServer, method: str) -> None:
    reply = ask_raw(server.port, request(method, "/v1/files", cookie="secret=1"))
    assert reply.status == 405
    assert b"secret" not in reply.body


def test_half_a_connection_is_none(server: ApiServer) -> None:
    with connected(server.port) as client:
        client.sendall(POST + b"Content-Length: 100\r\n\r\n{")
        client.shutdown(socket.SHUT_WR)
        read_to_end(client)
    assert server.ask("GET", "/v1/batches").json()


def test_nothing_of_all_that_is_left(server: ApiServer) -> None:
    """Runs last: every file there is has a row, and every row its bytes."""
    listed, after = set(), ""
    while True:
        page = server.ask("GET", f"/v1/files?limit=100{after}")
        files = json.loads(page.body)["data"]
        listed |= {file["id"] for file in files}
        if not json.loads(page.body)["has_more"]:
            break
        after = f"&after={files[-1]['id']}"
    stored = {path.name for path in (server.folder / "files").iterdir()}
    assert {Path(name).stem for name in stored} == listed
    assert list((server.folder / "incoming").iterdir()) == []
