"""What the API does when the disk, or whoever is at the other end, does not play along."""

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from overnight.seams import Seams
from support.api_server import ApiServer, form
from support.memory_disk import MemoryDisk
from support.polling import wait_for

LARGE = bytes(30_000_000)


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


@pytest.fixture
def server(tmp_path: Path, disk: MemoryDisk) -> Iterator[ApiServer]:
    with ApiServer(tmp_path, seams=Seams(disk=disk)) as running:
        yield running


def half_read(server: ApiServer, file_id: str) -> socket.socket:
    """A download whose reader stopped reading."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = f"GET /v1/files/{file_id}/content HTTP/1.1\r\nHost: localhost\r\n\r\n"
    connection.sendall(head.encode())
    assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")
    return connection


@pytest.mark.parametrize("trouble", ["full", "broken"])
def test_an_upload_that_can_not_be_stored_may_be_sent_again(
    server: ApiServer, disk: MemoryDisk, trouble: str
) -> None:
    setattr(disk, trouble, True)
    refused = server.ask("POST", "/v1/files", *form({"purpose": "batch"}, b"x" * 3_000_000))
    assert (refused.status, refused.at("error", "code")) == (503, "unavailable")
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert (disk.files, disk.opened) == ({}, 0)
    setattr(disk, trouble, False)
    server.upload()


def test_a_full_disk_is_not_ready(server: ApiServer, disk: MemoryDisk) -> None:
    disk.full = True
    assert "disk space" in str(server.ask("GET", "/readyz").at("error", "message"))


def test_a_reader_that_stopped_holds_nobody_up(server: ApiServer) -> None:
    file_id = server.upload(LARGE)
    with closing(half_read(server, file_id)):
        for _ in range(20):
            assert server.ask("GET", "/v1/files").status == 200
        assert server.ask("GET", f"/v1/files/{file_id}/content").body == LARGE
        assert server.ask("DELETE", f"/v1/files/{file_id}").status == 200


def test_a_reader_that_left_leaves_nothing_open(server: ApiServer, disk: MemoryDisk) -> None:
    half_read(server, server.upload(LARGE)).close()
    wait_for(lambda: disk.opened == 0, what="closing the file")


def test_half_an_upload_of_a_killed_predecessor_is_removed(tmp_path: Path) -> None:
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "0123").write_bytes(b"half")
    with ApiServer(tmp_path) as server:
        server.upload()
        assert list((tmp_path / "incoming").iterdir()) == []
