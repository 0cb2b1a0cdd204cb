"""The engine as a process of its own."""

import asyncio
import signal
import sys
from collections.abc import Callable

from overnight.sim.engine import SimEngine
from overnight.sim.options import SimOptions


def serve(options: SimOptions, host: str, port: int, announce: Callable[[int], None]) -> None:
    """Serve until SIGTERM or SIGINT. Calls `announce` with the port once connections are taken.

    Raises `OSError` when the address can not be had.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(SimEngine(options), host, port, announce))


async def _serve(engine: SimEngine, host: str, port: int, announce: Callable[[int], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    announce(await engine.start(host, port))
    await stop.wait()
    await engine.stop()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it installs; None is asyncio's own."""
    if sys.platform == "win32" or sys.implementation.name != "cpython":
        return None
    import uvloop  # noqa: PLC0415  not there on all systems

    return uvloop.new_event_loop
