"""An upstream that answers at once, as cheaply as Python can: the benches' other side.

python bench/upstream.py PORT
"""

import asyncio
import sys

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


class Instant(asyncio.Protocol):
    """Answers each request once its body is complete; one request at a time per connection."""

    def __init__(self) -> None:
        self.missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.missing:
            self.missing -= len(data)
        elif data.startswith(b"GET"):
            self.transport.write(MODELS)
            return
        else:
            head, _, body = data.partition(b"\r\n\r\n")
            start = head.lower().find(b"content-length:") + 15
            self.missing = int(head[start:].split(b"\r\n", 1)[0]) - len(body)
        if self.missing <= 0:
            self.missing = 0
            self.transport.write(REPLY)


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Instant, "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
