"""Asking a scripted upstream with our own client, one exchange after another."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from overnight.dispatch.http1 import Answer, Connection, Stale, Timeouts, open_connection
from overnight.dispatch.target import Target
from overnight.seams import connect_system
from support.scripted import (
    CLOSE,
    CONTINUE,
    EARLY_HINTS,
    Pause,
    ScriptedUpstream,
    Steps,
    reply,
    reply_chunked,
    reply_http_1_0,
)

REPLY_BYTES_MAX = 100_000
PATIENT = Timeouts(connect_seconds=5, first_byte_seconds=20, idle_seconds=20)
BODY = b'{"model":"m"}'


def raw(steps: Steps) -> bytes:
    """All that a script writes."""
    return b"".join(step for step in steps if isinstance(step, bytes))


def message(url: str) -> bytes:
    return Target.parse(url).post_head("/x") + b"%d\r\n\r\n%b" % (len(BODY), BODY)


async def connect(upstream: ScriptedUpstream, timeouts: Timeouts = PATIENT) -> Connection:
    target = Target.parse(upstream.base_url)
    connection = await open_connection(target, connect_system, timeouts, REPLY_BYTES_MAX)
    assert isinstance(connection, Connection)
    return connection


async def exchange(
    upstream: ScriptedUpstream, connection: Connection, timeouts: Timeouts = PATIENT
) -> Answer:
    async with asyncio.timeout(20):
        return await connection.send(message(upstream.base_url), timeouts.first_byte_seconds)


@asynccontextmanager
async def swept(connection: Connection) -> AsyncIterator[None]:
    """Look at the connection's deadline often, as a lane does."""

    async def sweep() -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection.sweep(loop.time())
            await asyncio.sleep(0.005)

    async with asyncio.TaskGroup() as tasks:
        sweeper = tasks.create_task(sweep())
        yield
        sweeper.cancel()


def ask_once(steps: Steps) -> tuple[Answer, Connection]:
    async def ask() -> tuple[Answer, Connection]:
        async with ScriptedUpstream([steps]) as upstream:
            connection = await connect(upstream)
            answer = await exchange(upstream, connection)
            try:
                return answer, connection
            finally:
                connection.end(Stale())

    return asyncio.run(ask())


def on_one_connection(
    script: list[Steps], use: Callable[[ScriptedUpstream, Connection], Awaitable[None]]
) -> None:
    async def main() -> None:
        async with ScriptedUpstream(script) as upstream:
            connection = await connect(upstream)
            await use(upstream, connection)
            connection.end(Stale())

    asyncio.run(main())


async def closed(connection: Connection) -> None:
    """Wait until the connection has noticed that the server closed it."""
    async with asyncio.timeout(10):
        while not connection.closed:  # noqa: ASYNC110  what is tested must not tell us
            await asyncio.sleep(0.001)


FORMS: dict[str, Steps] = {
    "content-length": reply(200, b'{"a":1}'),
    "chunked": reply_chunked(b'{"a"', b":", b"1}"),
    "chunked in one write": [raw(reply_chunked(b'{"a":', b"1}"))],
    "chunk extensions and trailers": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n",
        b'7;ext="x"\r\n{"a":1}\r\n0\r\nx-trailer: 1\r\n\r\n',
    ],
    "until the end": [b'HTTP/1.1 200 OK\r\n\r\n{"a":1}', CLOSE],
    "until the end, in pieces": [b"HTTP/1.1 200 OK\r\n\r\n", b'{"a"', Pause(0.01), b":1}", CLOSE],
    "HTTP/1.0": reply_http_1_0(b'{"a":1}'),
    "HTTP/1.0 with a length": [b'HTTP/1.0 200 OK\r\ncontent-length: 7\r\n\r\n{"a":1}', CLOSE],
    "after a hint": [EARLY_HINTS, *reply(200, b'{"a":1}')],
    "after a hint, in one write": [EARLY_HINTS + raw(reply(200, b'{"a":1}'))],
    "after 100 and three hints": [CONTINUE, *[EARLY_HINTS] * 3, *reply(200, b'{"a":1}')],
    "a byte at a time": [bytes([byte]) for byte in raw(reply(200, b'{"a":1}'))],
    "connection: close": reply(200, b'{"a":1}', connection="close"),
}
