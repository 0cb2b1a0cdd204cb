"""Upstreams behind a real Unix socket."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from overnight.dispatch.http1 import Answer, Connection, Reply, Stale, Timeouts, open_connection
from overnight.dispatch.target import Target
from overnight.domain.errors import ConfigurationError
from overnight.domain.request import Failure, FailureKind
from overnight.seams import Seams
from support.unix_sockets import socket_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    with socket_folder() as made:
        yield made


async def opened(path: Path) -> Connection | Failure:
    target = Target.parse(f"unix:{path}")
    return await open_connection(target, Seams().connect, Timeouts(), 1 << 20)


def why_not(path: Path) -> str:
    failure = asyncio.run(opened(path))
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.CONNECT
    return failure.detail


class Engine(asyncio.Protocol):
    """Answers whatever comes, and keeps it."""

    def __init__(self) -> None:
        self.received = b""
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()


async def asked(path: Path) -> tuple[Answer, bytes]:
    """What a server on the socket answers, and what it was sent."""
    engine = Engine()
    target = Target.parse(f"unix:{path}")
    loop = asyncio.get_running_loop()
    async with await loop.create_unix_server(lambda: engine, path):
        connection = await opened(path)
        assert isinstance(connection, Connection)
        reply = await connection.send(target.get("/models"), 5.0)
        connection.end(Stale())
        await engine.gone.wait()
    return reply, engine.received


def test_requests_go_through_a_socket_to_localhost(folder: Path) -> None:
    reply, received = asyncio.run(asked(folder / "engine.sock"))
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (200, b"{}")
    assert received.startswith(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n")


def test_why_a_socket_can_not_be_used(folder: Path) -> None:
    assert why_not(folder / "none.sock") == "has no such socket"
    (folder / "file").write_text("")
    assert why_not(folder / "file") == "is a file, but no socket"
    with closing(socket.socket(socket.AF_UNIX)) as left:
        left.bind(str(folder / "left.sock"))
    assert why_not(folder / "left.sock") == "refuses connections"


def test_a_target_is_a_socket_and_a_base() -> None:
    target = Target.parse("unix:/run/engine.sock", api_key="k")
    assert target.url == "unix:/run/engine.sock:/v1"
    assert (target.socket_path, target.path, target.tls) == ("/run/engine.sock", "/v1", None)
    with pytest.raises(ConfigurationError, match=r"^upstream 'unix:engine\.sock' should have"):
        Target.parse("unix:engine.sock")
