"""The ASGI server on the socket that the supervisor bound."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from overnight.api.patience import Patience
from overnight.api.protocol import RefusingProtocol, protocol_class
from overnight.seams import Chance

GRACE_SECONDS = 5


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the process's own business here."""
        yield

    async def on_tick(self, counter: int) -> bool:
        # Called ten times a second.
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, RefusingProtocol):
                    connection.sweep(now)
        return await super().on_tick(counter)


async def serve(
    app: ASGIApp,
    listener: socket.socket,
    stop: asyncio.Event,
    chance: Chance,
    patience: Patience,
) -> None:
    """Answer requests until `stop` is set, then end those under way.

    `chance` makes the ids of requests that are too broken to reach the application.
    """
    config = uvicorn.Config(
        app,
        http=protocol_class(chance, patience),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve(sockets=[listener]))
        await stop.wait()
        server.should_exit = True
        await serving
    if late := server.server_state.tasks:
        # Cancelled after the grace: each still says so and lets go of what it holds.
        await asyncio.wait(late)
