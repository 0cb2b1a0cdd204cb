"""An upstream that costs as little as Python can: the benches' other side.

python bench/upstream.py PORT [--latency-ms LO[-HI]]     PORT may be the path of a Unix socket

It answers every POST with the same chat completion, at once or after a time drawn evenly from a
range. Ready when it prints its port. With a latency, `GET /spent` tells what it has done so far.
"""

import argparse
import asyncio
import json
import random
import time
from typing import ClassVar

import uvloop

CONTENT = "The lantern keeper counted the ships and wrote their names in the ledger. " * 6
BODY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"sim","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"%b"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":48,"completion_tokens":96,"total_tokens":144}}'
) % CONTENT.encode()
REPLY = (
    b"HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 00:00:00 GMT\r\nserver: instant\r\n"
    b"content-type: application/json\r\nx-request-id: 0123456789abcdef\r\n"
    b"cache-control: no-store\r\ncontent-length: %d\r\nconnection: keep-alive\r\n\r\n" % len(BODY)
) + BODY
MODELS_BODY = b'{"object":"list","data":[{"id":"sim","object":"model"}]}'
MODELS = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    % len(MODELS_BODY)
) + MODELS_BODY


class Engine(asyncio.Protocol):
    """Answers each request once its body is complete; one request at a time per connection."""

    latency_seconds = (0.0, 0.0)
    spent: ClassVar = {"answered": 0, "drawn_seconds": 0.0, "taken_seconds": 0.0}
    """Requests, the latencies drawn for them, and how long they really stayed here."""

    def __init__(self) -> None:
        self.missing = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.missing:
            self.missing -= len(data)
        elif data.startswith(b"GET"):
            self.transport.write(told() if data.startswith(b"GET /spent") else MODELS)
            return
        else:
            head, _, body = data.partition(b"\r\n\r\n")
            start = head.lower().find(b"content-length:") + 15
            self.missing = int(head[start:].split(b"\r\n", 1)[0]) - len(body)
        if self.missing <= 0:
            self.missing = 0
            self.answer()

    def answer(self) -> None:
        shortest, longest = self.latency_seconds
        if longest:
            delay = random.uniform(shortest, longest)
            asyncio.get_running_loop().call_later(delay, self.answer_late, time.monotonic(), delay)
        else:
            self.transport.write(REPLY)

    def answer_late(self, began: float, delay: float) -> None:
        self.transport.write(REPLY)
        spent = self.spent
        spent["answered"] += 1
        spent["drawn_seconds"] += delay
        spent["taken_seconds"] += time.monotonic() - began


def told() -> bytes:
    body = json.dumps({**Engine.spent, "at": time.monotonic()}).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


async def main(place: str) -> None:
    loop = asyncio.get_running_loop()
    if place.isdigit():
        server = await loop.create_server(Engine, "127.0.0.1", int(place), backlog=4096)
        print(server.sockets[0].getsockname()[1], flush=True)
    else:
        server = await loop.create_unix_server(Engine, place, backlog=4096)
        print(place, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("place")
    parser.add_argument("--latency-ms", default="0")
    given = parser.parse_args()
    shortest, _, longest = given.latency_ms.partition("-")
    Engine.latency_seconds = (float(shortest) / 1e3, float(longest or shortest) / 1e3)
    uvloop.run(main(given.place))
