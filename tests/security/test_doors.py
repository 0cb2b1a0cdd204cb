"""The doors of the API, tried from outside: strange keys, other pages, other names of this machine.

Bytes go over a socket as they are, for no client library would send them.
"""

import ast
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from starlette.routing import BaseRoute, Mount, Route

import overnight
from overnight.api.app import ApiOptions, routing
from overnight.seams import SystemClock
from overnight.service.keyring import Keyring
from overnight.store.database import Database
from support.api_server import ApiServer
from support.virtual_time import InlineThreads

KEY = "a-key-that-nobody-guesses"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("keyed"), api_keys=(KEY,)) as running:
        yield running


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """In open mode."""
    with ApiServer(tmp_path_factory.mktemp("open")) as running:
        yield running


def exchange(server: ApiServer, *lines: bytes) -> tuple[int, bytes]:
    """The status of the reply to a head as it is, and all of its bytes."""
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=20)) as connection:
        connection.sendall(b"\r\n".join((*lines, b"Connection: close", b"", b"")))
        reply = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(reply.split(b" ", 2)[1]), reply


def with_header(server: ApiServer, *headers: bytes) -> tuple[int, bytes]:
    host = b"Host: 127.0.0.1:%d" % server.port
    return exchange(server, b"GET /v1/files HTTP/1.1", host, *headers)


# Keys


@pytest.mark.parametrize(
    "header",
    [
        b"authorization: bearer " + KEY.encode(),
        b"AUTHORIZATION: BEARER  " + KEY.encode() + b"  ",
        b"Authorization:Bearer " + KEY.encode(),
        b"api-key: " + KEY.encode(),
    ],
)
def test_a_right_key_opens_however_it_is_written(keyed: ApiServer, header: bytes) -> None:
    assert with_header(keyed, header)[0] == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Authorization: " + KEY.encode(), 401),
        (b"Authorization: Bearer", 401),
        (b"Authorization: Bearer \t ", 401),
        (b"Authorization: Bearer " + KEY[:-1].encode(), 401),
        (b"Authorization: Bearer " + KEY.encode() + b"x", 401),
        (b"Authorization: Bearer " + KEY.upper().encode(), 401),
        (b"Authorization: Bearer " + KEY.encode() + b", " + KEY.encode(), 401),
        (b"Authorization: Basic " + KEY.encode(), 401),
        (b"Authorization: Bearer \xff\xfe\xc3\xbc", 401),
        (b"Authorization: Bearer " + "ключ".encode(), 401),
        (b"Authorization: Bearer " + b"x" * 60_000, 401),
        (b"Authorization: Bearer " + b"x" * 1_000_000, 431),
        (b"Authorization: Bearer " + KEY.encode() + b"\0", 400),
        (b"Authorization: Bearer x\0" + KEY.encode(), 400),
        (b"Authorization : Bearer " + KEY.encode(), 400),
        (b"api-key:", 401),
        (b"api-key: \xff", 401),
        (b"Cookie: authorization=Bearer " + KEY.encode(), 401),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else None,
)
def test_what_is_no_right_key_is_refused_in_the_one_shape(
    keyed: ApiServer, header: bytes, status: int
) -> None:
    got, reply = with_header(keyed, header)
    assert got == status
    error = json.loads(reply.partition(b"\r\n\r\n")[2])["error"]
    assert error["type"] == "invalid_request_error"
    assert KEY.encode() not in reply


def test_of_two_headers_the_first_counts(keyed: ApiServer) -> None:
    """So that a proxy that looks at one and adds another is not fooled by either order."""
    right, wrong = (b"Authorization: Bearer " + key for key in (KEY.encode(), b"x"))
    assert with_header(keyed, right, wrong)[0] == 200
    assert with_header(keyed, wrong, right)[0] == 401


def test_a_keyring_holds_digests_alone(tmp_path: Path) -> None:
    ring = Keyring(Database(tmp_path / "db", InlineThreads("")), SystemClock(), [KEY])
    assert KEY not in str(vars(ring))


def test_no_secret_is_compared_byte_by_byte() -> None:
    """Keys are looked up by their digest (why that is fine: `domain.api_key.digest_of`), and
    signatures compared in a time that tells nothing."""
    secret = {"secret", "signature", "api_key", "expected"}
    sources = sorted(Path(overnight.__file__).parent.rglob("*.py"))
    found = []
    compared = 0
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "compare_digest":
                compared += 1
            if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
                continue
            sides = (node.left, *node.comparators)
            if any(name(side) in secret for side in sides):
                found.append(f"{path.name}:{node.lineno}")
    assert found == []
    assert compared


def name(side: ast.expr) -> str:
    match side:
        case ast.Name(id=word) | ast.Attribute(attr=word):
            return word
    return ""


# Web pages


@pytest.mark.parametrize(
    "headers",
    [
        [b"Host: evil.example"],
        [b"Host: 127.0.0.1.evil.example"],
        [b"Host: evil.example:80", b"X-Forwarded-Host: 127.0.0.1"],
        [b"Host: 127.0.0.1@evil.example"],
        [b"Host: 2130706433"],
        [b"Host: "],
        [b"Host: 127.0.0.1", b"Origin: https://evil.example"],
        [b"Host: 127.0.0.1", b"Origin: http://127.0.0.1.evil.example"],
        [b"Host: 127.0.0.1", b"Origin: http://localhost@evil.example"],
        [b"Host: 127.0.0.1", b"Origin: null"],
        # What a proxy on this machine passes on comes from elsewhere.
        [b"Host: 127.0.0.1", b"X-Forwarded-For: 192.0.2.1"],
    ],
    ids=str,
)
@pytest.mark.parametrize("target", [b"/v1/files", b"http://127.0.0.1/v1/files", b"/storage/x"])
def test_open_mode_is_for_this_machine_and_its_own_pages(
    opened: ApiServer, target: bytes, headers: list[bytes]
) -> None:
    status, reply = exchange(opened, b"GET " + target + b" HTTP/1.1", *headers)
    assert status == 403
    assert b"has no API key" in reply


def test_open_mode_serves_this_machine(opened: ApiServer) -> None:
    """Without this, the refusals above could have any reason."""
    assert exchange(opened, b"GET /v1/files HTTP/1.1", b"Host: 127.0.0.1")[0] == 200


def paths(routes: list[BaseRoute], prefix: str = "") -> Iterator[str]:
    for route in routes:
        if isinstance(route, Mount):
            yield from paths(route.routes, prefix + route.path)
        else:
            assert isinstance(route, Route)
            yield (prefix + route.path).replace("{", "").replace("}", "")


def test_no_route_lets_pages_of_elsewhere_read(keyed: ApiServer, opened: ApiServer) -> None:
    asking = {"origin": "http://localhost:3000", "access-control-request-method": "POST"}
    for server, key in ((keyed, {"authorization": f"Bearer {KEY}"}), (opened, {})):
        for path in set(paths(routing(server.services, ApiOptions()).routes)):
            for method in ("GET", "OPTIONS", "POST"):
                reply = server.ask(method, path, headers=asking | key)
                assert reply.status < 500 or path == "/readyz", (method, path, reply)
                assert not [one for one in reply.headers if one.startswith("access-control")]


# Addresses


@pytest.mark.parametrize(
    "target",
    [
        b"/v1/files/\xc3\xbc",
        b"/v1/files/\xff",
        b"/v1/files/%ff",
        b"/v1/files/%00",
        b"/v1/files/..%2f..%2f..%2fetc%2fpasswd",
        b"/v1/files/%2e%2e/%2e%2e/content",
        b"/v1/files/file-0%0d%0aX-Evil:%201/content",
        b"/v1/files?after=%00",
        b"/v1/files?limit=1e9&order=%ff",
        b"/v1/../../overnight.sqlite3",
        b"//v1/files",
        b"/v1/batches/" + b"x" * 5_000,
        b"*",
    ],
    ids=repr,
)
def test_strange_addresses_are_nobodys(keyed: ApiServer, target: bytes) -> None:
    host = b"Host: 127.0.0.1"
    key = b"Authorization: Bearer " + KEY.encode()
    status, reply = exchange(keyed, b"GET " + target + b" HTTP/1.1", host, key)
    assert 200 <= status < 500
    head, _, body = reply.partition(b"\r\n\r\n")
    assert b"x-evil" not in head.lower()
    assert b"SQLite" not in body
    if status != 200:
        assert json.loads(body)["error"]["type"] == "invalid_request_error"
