"""Clients that stop in the middle, never begin, never read or are too many: each is let go, and all
others go on being served."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from overnight.api.patience import Patience
from support.api_server import ApiServer, form
from support.polling import wait_for
from support.raw_http import RawReply, ask_raw, connected, read_reply, read_to_end, request

UPLOAD = (
    b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
    b"Content-Type: multipart/form-data; boundary=bound\r\n\r\n"
)

counted = pytest.mark.skipif(
    not Path("/proc/net/tcp").exists(), reason="counts connections as Linux does"
)


@contextmanager
def serving(folder: Path, patience: Patience) -> Iterator[ApiServer]:
    with ApiServer(folder, patience=patience) as server:
        yield server


def last_words(connection: socket.socket) -> RawReply | None:
    """The one reply before the server hung up; None when it did so without a word."""
    received = read_to_end(connection)
    if not received:
        return None
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head
    return RawReply(int(head.split(b" ")[1]), {}, body)


def assert_nothing_is_left(server: ApiServer) -> None:
    incoming = server.folder / "incoming"
    wait_for(lambda: not list(incoming.iterdir()), what="the clean-up")
    assert list((server.folder / "files").iterdir()) == []
    assert server.ask("GET", "/v1/files").at("data") == []


def test_who_says_nothing_is_let_go_without_a_word(tmp_path: Path) -> None:
    with serving(tmp_path, Patience(head_seconds=1)) as server, connected(server.port) as silent:
        assert last_words(silent) is None


def test_a_head_that_drips_has_a_time_for_all_of_it(tmp_path: Path) -> None:
    with serving(tmp_path, Patience(head_seconds=2)) as server, connected(server.port, 0.2) as slow:
        slow.sendall(b"GET /v1/files HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        received = drip(slow, b"x")
        assert b" 408 " in received.splitlines()[0]
        assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"


def drip(connection: socket.socket, byte: bytes) -> bytes:
    """Send a byte whenever nothing came for a while; what comes once something does."""
    for _ in range(300):
        try:
            connection.sendall(byte)
            if received := connection.recv(1 << 16):
                return received
        except TimeoutError:
            continue
    raise AssertionError("the server waits for ever")


def test_empty_lines_do_not_keep_a_connection(tmp_path: Path) -> None:
    with serving(tmp_path, Patience(head_seconds=1)) as server, connected(server.port) as client:
        client.sendall(request("GET", "/healthz"))
        assert read_reply(client)[0].status == 200
        client.sendall(b"\r\n")
        assert last_words(client) is None


def test_an_upload_that_stops_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    body, _ = form({"purpose": "batch"}, b"x" * 3_000_000)
    with serving(tmp_path, Patience(body_seconds=1)) as server:
        with ExitStack() as stack:
            sent = (0, 1, 60, 2_000_000, len(body) - 1)
            clients = [stack.enter_context(connected(server.port)) for _ in sent]
            for client, length in zip(clients, sent, strict=True):
                client.sendall(UPLOAD % len(body) + body[:length])
            for client in clients:
                told = last_words(client)
                assert told is not None
                assert (told.status, told.code) == (408, "request_timeout")
        assert_nothing_is_left(server)


def test_a_slow_upload_is_waited_for_as_long_as_it_moves(tmp_path: Path) -> None:
    body, _ = form({"purpose": "batch"}, b"{}")
    with serving(tmp_path, Patience(body_seconds=1.5)) as server:
        began = time.monotonic()
        with connected(server.port) as client:
            client.sendall(UPLOAD % len(body))
            for place in range(0, len(body), 8):
                client.sendall(body[place : place + 8])
                time.sleep(0.1)
            assert read_reply(client)[0].status == 200
        assert time.monotonic() - began > 1.5


@counted
def test_who_does_not_read_is_let_go(tmp_path: Path) -> None:
    with serving(tmp_path, Patience(reader_seconds=1)) as server:
        file_id = server.upload(b"x" * 30_000_000)
        with connected(server.port) as client:
            client.sendall(request("GET", f"/v1/files/{file_id}/content"))
            wait_for(lambda: not connections_to(server.port), what="the end of the connection")
            assert len(read_to_end(client)) < 30_000_000


def connections_to(port: int) -> list[str]:
    """Those the server has open, as the system lists them."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return [line for line in lines if line.split()[1].endswith(f":{port:04X}") and " 01 " in line]


def test_the_rest_of_a_refused_body_is_not_waited_for(tmp_path: Path) -> None:
    with serving(tmp_path, Patience(rest_seconds=1)) as server, connected(server.port) as client:
        client.sendall(request("POST", "/nowhere", x="y")[:-2] + b"Content-Length: 10\r\n\r\n123")
        reply, rest = read_reply(client)
        assert reply.status == 404
        assert rest + read_to_end(client) == b""


def test_the_body_of_a_refused_request_does_not_cost_the_connection(tmp_path: Path) -> None:
    with serving(tmp_path, Patience(rest_seconds=20)) as server, connected(server.port) as client:
        for _ in range(3):
            client.sendall(b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123")
            assert read_reply(client)[0].status == 403
            client.sendall(b"4567890")


@counted
def test_idle_connections_make_room_for_new_ones(tmp_path: Path) -> None:
    with serving(tmp_path, Patience(connections_max=20)) as server, ExitStack() as stack:
        file_id = server.upload(b"0123456789")
        body, _ = form({"purpose": "batch"}, b"{}")
        working = stack.enter_context(connected(server.port))
        begin_upload(working, len(body))
        idle = []
        for _ in range(100):
            idle.append(stack.enter_context(connected(server.port)))
            idle[-1].sendall(b"GET /hea")
        for _ in range(30):
            assert server.ask("GET", f"/v1/files/{file_id}/content").body == b"0123456789"
        assert len(connections_to(server.port)) <= 21
        assert last_words(idle[0]) is None
        working.sendall(body)
        assert read_reply(working)[0].status == 200


def begin_upload(client: socket.socket, length: int) -> None:
    """Returns when it is under way."""
    client.sendall(UPLOAD[:-2] % length + b"Expect: 100-continue\r\n\r\n")
    assert read_reply(client)[0].status == 100


def test_when_all_are_at_work_new_ones_are_told_to_come_again(tmp_path: Path) -> None:
    body, _ = form({"purpose": "batch"}, b"{}")
    with serving(tmp_path, Patience(connections_max=5)) as server, ExitStack() as stack:
        working = [stack.enter_context(connected(server.port)) for _ in range(5)]
        for client in working:
            begin_upload(client, len(body))
        with connected(server.port) as newcomer:
            told = last_words(newcomer)
        assert told is not None
        assert (told.status, told.code) == (503, "unavailable")
        for client in working:
            client.sendall(body)
            assert read_reply(client)[0].status == 200
        assert ask_raw(server.port, request("GET", "/healthz")).status == 200


def test_nobody_else_waits(tmp_path: Path) -> None:
    """A served client's time while others stall in every way."""
    with serving(tmp_path, Patience()) as server, ExitStack() as stack:
        for start in (b"", b"GET /v1", UPLOAD % 100, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"):
            for _ in range(10):
                stack.enter_context(connected(server.port)).sendall(start)
        assert ask_raw(server.port, request("GET", "/v1/files")).status == 200
