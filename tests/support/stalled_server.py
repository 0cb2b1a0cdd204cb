"""A server that takes connections and lets whoever connects wait."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


class StalledServer:
    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._held: list[socket.socket] = []

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def wait_for_request(self) -> None:
        """Returns once the first byte of one has arrived."""
        self._listener.settimeout(20)
        connection, _ = self._listener.accept()
        self._held.append(connection)
        connection.settimeout(20)
        assert connection.recv(1)

    def close(self) -> None:
        for one in (self._listener, *self._held):
            one.close()


@contextmanager
def stalled_server() -> Iterator[StalledServer]:
    server = StalledServer(socket.create_server(("127.0.0.1", 0)))
    try:
        yield server
    finally:
        server.close()
