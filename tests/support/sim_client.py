"""Raw HTTP against a simulated engine in this process."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from overnight.sim import SimEngine, SimOptions


@dataclass(frozen=True, slots=True)
class Answered:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error_code(self) -> str:
        """Of a refusal, after a look that its shape is OpenAI's."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert isinstance(error["message"], str)
        assert error["message"]
        return str(error["code"])


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def receive(self, *, has_body: bool = True) -> Answered:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head[:-4].split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        length = int(headers.get("content-length", "0")) if has_body else 0
        return Answered(int(first.split()[1]), headers, await self.reader.readexactly(length))

    async def post(self, path: str, body: object) -> Answered:
        self.send(post(path, body))
        return await self.receive()

    async def get(self, path: str) -> Answered:
        self.send(f"GET {path} HTTP/1.1\r\nHost: sim\r\n\r\n".encode())
        return await self.receive()

    async def at_end(self) -> bool:
        return await self.reader.read(1) == b""


def post(path: str, body: object, *headers: str) -> bytes:
    """The bytes of a request; a body that is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: sim", f"Content-Length: {len(data)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + data


def chat(text: str, **more: object) -> dict[str, object]:
    return {"model": "sim", "messages": [{"role": "user", "content": text}], **more}


async def until(condition: Callable[[], bool]) -> None:
    """Bounded by the ten seconds of `with_engine`."""
    while not condition():  # noqa: ASYNC110  the engine has no event for it
        await asyncio.sleep(0.001)


def with_engine(
    test: Callable[[SimEngine, Client], Awaitable[None]], options: SimOptions | None = None
) -> None:
    """Run the test against an engine of its own; a test that hangs fails after ten seconds."""

    async def run() -> None:
        engine = SimEngine(options)
        async with asyncio.timeout(10):
            port = await engine.start()
            client = Client(*await asyncio.open_connection("127.0.0.1", port))
            try:
                await test(engine, client)
            finally:
                client.writer.close()
                await engine.stop()

    asyncio.run(run())
