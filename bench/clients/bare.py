"""A bare loop on asyncio and httptools: what any program of this kind has to do, no more."""

import asyncio

import httptools
import msgspec
from measured import ENDPOINT, Job, Spent, Stopwatch, main


class Line(msgspec.Struct, gc=False):
    custom_id: str
    body: msgspec.Raw


class Usage(msgspec.Struct, gc=False):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Metered(msgspec.Struct, gc=False):
    usage: Usage | None = None


class Connection(asyncio.Protocol):
    def __init__(self, loop: "Loop") -> None:
        self.loop = loop
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.next()

    def next(self) -> None:
        line = next(self.loop.lines, None)
        if line is None:
            self.transport.close()
            return
        self.custom_id = line.custom_id
        body = bytes(line.body)
        self.body = b""
        self.transport.write(b"%b%d\r\n\r\n%b" % (self.loop.head, len(body), body))

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.loop.take(self.custom_id, self.body)
        self.next()


class Loop:
    def __init__(self, job: Job) -> None:
        decode = msgspec.json.Decoder(Line).decode
        self.file = job.source.open("rb", buffering=1 << 20)
        self.lines = map(decode, self.file)
        self.out = job.target.open("wb", buffering=1 << 20)
        self.head = (
            f"POST {ENDPOINT} HTTP/1.1\r\nHost: 127.0.0.1:{job.port}\r\nUser-Agent: bare\r\n"
            "Accept: application/json\r\nContent-Type: application/json\r\nContent-Length: "
        ).encode()
        self.metered = msgspec.json.Decoder(Metered).decode
        self.encode = msgspec.json.Encoder().encode
        self.missing = job.requests
        self.done = asyncio.Event()

    def take(self, custom_id: str, body: bytes) -> None:
        self.metered(body)
        self.out.write(b'{"custom_id":%b,"body":%b}\n' % (self.encode(custom_id), body))
        self.missing -= 1
        if not self.missing:
            self.out.close()
            self.done.set()


async def bare(job: Job) -> Spent:
    bare_loop = Loop(job)
    loop = asyncio.get_running_loop()
    stopwatch = Stopwatch()
    for _ in range(job.in_flight):
        await loop.create_connection(lambda: Connection(bare_loop), "127.0.0.1", job.port)
    await bare_loop.done.wait()
    return stopwatch.read()


if __name__ == "__main__":
    main(bare)
