"""Thousands of connections that do nothing, readers that never read, and uploads that break off,
before the whole service: the API stays the same process, small, and there for everybody else."""

import json
import resource
import socket
import struct
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.api_server import form
from support.batches import input_file, numbered
from support.polling import wait_for
from support.raw_http import connected, request
from support.service import ServiceProcess, running_service
from support.sim import running_sim

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

IDLE_CONNECTIONS = 2_000
FEW_FILES = 512
"""Many systems let a program open no more than 1,024, unless it asks."""
GROWTH_BYTES_MAX = 80 * 1024 * 1024
LARGE_FILE_BYTES = 40_000_000
RESET = struct.pack("ii", 1, 0)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("service")
    with running_sim() as engine, few_open_files(), ExitStack() as stack:
        yield stack.enter_context(running_service(folder / "data", engine.base_url))


@contextmanager
def few_open_files() -> Iterator[None]:
    """For what is started from here; the test itself opens many."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 2 * IDLE_CONNECTIONS:
        pytest.skip(f"the system lets nobody open more than {before[1]} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_FILES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def many_open_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def unharmed(service: ServiceProcess) -> Iterator[int]:
    """The API is the same process afterwards, and has not grown by much; gives its port."""
    before = service.pids("api")
    held = memory_bytes(before[0])
    yield int(urlsplit(service.base_url).port or 0)
    assert service.pids("api") == before
    assert memory_bytes(before[0]) - held < GROWTH_BYTES_MAX


def memory_bytes(pid: int) -> int:
    """The most it held since it started."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def stored(service: ServiceProcess) -> tuple[set[str], set[str]]:
    """The files that have a row, and those that have bytes."""
    with urllib.request.urlopen(f"{service.base_url}/v1/files?limit=10000", timeout=30) as reply:
        listed = {file["id"] for file in json.loads(reply.read())["data"]}
    return listed, {Path(path.name).stem for path in (service.data_dir / "files").iterdir()}


def test_thousands_of_idle_connections_keep_nobody_out(service: ServiceProcess) -> None:
    ids = numbered(20)
    api = service.pids("api")[0]
    with unharmed(service) as port, many_open_files(), ExitStack() as stack:
        for number in range(IDLE_CONNECTIONS):
            idle = stack.enter_context(connected(port))
            if number % 2:
                idle.sendall(b"GET /v1/files HTTP/1.1\r\nX-Slow: ")
        wait_for(lambda: open_files(api) > IDLE_CONNECTIONS, what="all connections")
        assert service.client.status_of("/readyz") == 200
        service.client.results(service.client.submit(input_file(ids))).assert_whole(ids)
    wait_for(lambda: open_files(api) < FEW_FILES, what="the end of all connections")


def test_who_asks_without_reading_costs_little(service: ServiceProcess) -> None:
    file_id = service.client.upload(b"x" * LARGE_FILE_BYTES)
    with unharmed(service) as port, ExitStack() as stack:
        for _ in range(20):
            reader = stack.enter_context(connected(port))
            reader.sendall(request("GET", f"/v1/files/{file_id}/content"))
        for _ in range(5):
            flood(stack.enter_context(connected(port, 0.5)))
        assert service.client.status_of("/readyz") == 200


def flood(connection: socket.socket) -> None:
    """As many requests as it takes, none of whose answers is read."""
    requests = request("GET", "/v1/files") * 2_000
    with suppress(TimeoutError):
        for _ in range(100):
            connection.sendall(requests)


def test_uploads_that_break_off_leave_nothing(service: ServiceProcess) -> None:
    body, headers = form({"purpose": "batch"}, b"x" * 3_000_000)
    whole = request("POST", "/v1/files", body, **headers)
    before = stored(service)
    assert before[0] == before[1]
    # One byte short of whole as well; a whole one is a file, whether or not anybody hears of it.
    places = [*range(0, 400, 37), *range(1_000, len(whole), 150_000), len(whole) - 1]
    with unharmed(service) as port:
        for number, place in enumerate(places):
            with connected(port) as client, suppress(ConnectionError):
                client.sendall(whole[:place])
                if number % 2:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        incoming = service.data_dir / "incoming"
        wait_for(lambda: not list(incoming.iterdir()), what="the clean-up")
        assert stored(service) == before
