"""A `ScriptedUpstream` served from a thread, for what is tested without an event loop.

with scripted([reply_json({"id": "file-1"})]) as server:
    ...                                  # send to server.base_url
    assert server.requests[0].method == "GET"
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from support.scripted import Received, ScriptedUpstream, Steps


@contextmanager
def scripted(
    script: Sequence[Steps] | Callable[[Received], Steps], *, on_connect: Steps = ()
) -> Iterator[ScriptedUpstream]:
    server = ScriptedUpstream(script, on_connect=on_connect)
    ready = threading.Event()
    stop: asyncio.Event
    loop: asyncio.AbstractEventLoop

    async def serve() -> None:
        nonlocal stop, loop
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        async with server:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        assert not thread.is_alive()
