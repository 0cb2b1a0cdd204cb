"""An upstream in the bench's own process that answers at once and notes when each request came."""

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.upstream import Engine

_JOB = re.compile(rb"of job (\d+)")


@dataclass
class Witness:
    """`first_at` is by the number of the job that the prompt names, on the wall clock."""

    port: int = 0
    first_at: dict[int, float] = field(default_factory=dict)
    requests: int = 0
    came: threading.Event = field(default_factory=threading.Event)

    def note(self, data: bytes) -> None:
        if found := _JOB.search(data):
            self.requests += 1
            self.first_at.setdefault(int(found[1]), time.time())
            self.came.set()


@contextmanager
def witness() -> Iterator[Witness]:
    seen = Witness()

    class Noting(Engine):
        def data_received(self, data: bytes) -> None:
            seen.note(data)
            super().data_received(data)

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(Noting, "127.0.0.1", 0, backlog=4096))
    seen.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield seen
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()
