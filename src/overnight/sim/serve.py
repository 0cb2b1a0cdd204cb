"""The engine as a process of its own."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from overnight.sim.engine import SimEngine, Stats
from overnight.sim.options import SimOptions


def serve(options: SimOptions, host: str, port: int, announce: Callable[[int], None]) -> Stats:
    """Serve until SIGTERM or SIGINT. Calls `announce` with the port once connections are taken.

    Returns what there was to do. Raises `OSError` when the address can not be had.
    """
    engine = SimEngine(options)

    async def start() -> None:
        announce(await engine.start(host, port))

    return _run(engine, start)


def serve_unix(options: SimOptions, path: Path, announce: Callable[[], None]) -> Stats:
    """As `serve`, on a Unix socket, which is gone afterwards."""
    engine = SimEngine(options)

    async def start() -> None:
        await engine.start_unix(str(path))
        announce()

    try:
        return _run(engine, start)
    finally:
        if path.is_socket():
            path.unlink()


def _run(engine: SimEngine, start: Callable[[], Awaitable[None]]) -> Stats:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(engine, start))


async def _serve(engine: SimEngine, start: Callable[[], Awaitable[None]]) -> Stats:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await start()
    await stop.wait()
    stats = engine.stats()
    await engine.stop()
    return stats


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it installs; None is asyncio's own."""
    if sys.platform == "win32" or sys.implementation.name != "cpython":
        return None
    import uvloop  # noqa: PLC0415  not there on all systems

    return uvloop.new_event_loop
