"""HTTP as bytes on a socket, for clients that no library lets us be."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple


class RawReply(NamedTuple):
    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def code(self) -> str:
        """Of the one shape that all errors have; fails where it is another."""
        error = json.loads(self.body)["error"]
        assert set(error) == {"message", "type", "param", "code"}, error
        return str(error["code"])


@contextmanager
def connected(port: int, seconds: float = 30.0) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def read_to_end(connection: socket.socket) -> bytes:
    """All until the server hangs up, in whichever way."""
    received = b""
    with suppress(ConnectionError):
        while piece := connection.recv(1 << 16):
            received += piece
    return received


def read_reply(connection: socket.socket, received: bytes = b"") -> tuple[RawReply, bytes]:
    """The next reply, which must say its length, and what came behind it."""
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    status, headers = parse_head(head)
    length = 0 if status < 200 else int(headers["content-length"])
    while len(body) < length:
        body += _more(connection)
    return RawReply(status, headers, body[:length]), body[length:]


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = (line.split(": ", 1) for line in lines)
    return int(first.split(" ")[1]), {name.lower(): value for name, value in fields}


def ask_raw(port: int, *pieces: bytes) -> RawReply:
    """One exchange on a connection of its own."""
    with connected(port) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return read_reply(connection)[0]


def request(
    method: str, path: str, body: bytes = b"", host: str = "localhost", **headers: str
) -> bytes:
    """A whole request; `content_type=…` is a header."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _more(connection: socket.socket) -> bytes:
    piece = connection.recv(1 << 16)
    assert piece, "the server hung up in the middle of a reply"
    return piece
