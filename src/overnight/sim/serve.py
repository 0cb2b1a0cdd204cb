"""The engine as a process of its own."""

import asyncio
import signal
import sys
from collections.abc import Callable

from overnight.sim.engine import SimEngine, Stats
from overnight.sim.options import SimOptions


def serve(options: SimOptions, host: str, port: int, announce: Callable[[int], None]) -> Stats:
    """Serve until SIGTERM or SIGINT. Calls `announce` with the port once connections are taken.

    Returns what there was to do. Raises `OSError` when the address can not be had.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(SimEngine(options), host, port, announce))


async def _serve(engine: SimEngine, host: str, port: int, announce: Callable[[int], None]) -> Stats:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    announce(await engine.start(host, port))
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
