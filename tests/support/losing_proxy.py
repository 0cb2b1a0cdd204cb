"""A network that loses answers: it cuts the connection when the server has given its own.

with losing_proxy(server.port, "POST /v1/batches ") as proxy:
    ...  # The first such request through `proxy.base_url` arrives, and is not answered.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress


class LosingProxy:
    """Passes everything on, both ways, but for the answer to the first request that begins so."""

    def __init__(self, listener: socket.socket, port: int, opening: str) -> None:
        self._listener = listener
        self._port = port
        self._opening = opening.encode()
        self._threads: list[threading.Thread] = []
        self.lost = b""
        """The answer that nobody got."""

    @property
    def base_url(self) -> str:
        """Without `/v1`."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def run(self) -> None:
        with suppress(OSError):  # The listener is closed at the end.
            while True:
                client, _ = self._listener.accept()
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with (
            closing(client),
            closing(socket.create_connection(("127.0.0.1", self._port))) as server,
        ):
            first = client.recv(65_536)
            server.sendall(first)
            if first.startswith(self._opening) and not self.lost:
                self._start(_pass_on, client, server)
                self.lost = server.recv(65_536)
                client.shutdown(socket.SHUT_RDWR)
                return
            self._start(_pass_on, client, server)
            _pass_on(server, client)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Until one of the two is done."""
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextmanager
def losing_proxy(port: int, opening: str) -> Iterator[LosingProxy]:
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = LosingProxy(listener, port, opening)
    thread = threading.Thread(target=proxy.run, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)
        proxy.join()
