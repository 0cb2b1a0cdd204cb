"""What a request costs: our dispatcher, a bare asyncio + httptools loop, and aiohttp.

    python bench/dispatch.py [--requests 40000] [--in-flight 256] [--rounds 5] [--prompt-bytes 200]

All three do the same job in turn, round after round, against an upstream that answers at once:
take each line of a JSONL file, POST its body, write a result line. Figures are CPU microseconds
per request of the client process (user + system, from the kernel's own accounting) between the
first request and the last result; walls on a busy machine say little. Ours does everything a
worker does: planned offsets, fenced frames, syncs, failure judgement, token counts.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import aiohttp
import httptools
import msgspec
import uvloop

from overnight.dispatch.dispatcher import Dispatcher, DispatchOptions
from overnight.dispatch.http1 import Target
from overnight.dispatch.lane import LaneOptions
from overnight.dispatch.segment import begin_segment
from overnight.dispatch.shard import OpenShard, ShardOrder
from overnight.dispatch.window import load_window
from overnight.domain.request import LineRules
from overnight.seams import Seams
from overnight.service.validator import Validation

ENDPOINT = "/v1/chat/completions"


class Line(msgspec.Struct, gc=False):
    custom_id: str
    body: msgspec.Raw


class Usage(msgspec.Struct, gc=False):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Metered(msgspec.Struct, gc=False):
    usage: Usage | None = None


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def write_input(path: Path, requests: int, prompt_bytes: int) -> None:
    prompt = ("Tell me of the night the lantern went out. " * (prompt_bytes // 43 + 1))[
        :prompt_bytes
    ]
    with path.open("w") as file:
        for number in range(requests):
            body = {"model": "sim", "messages": [{"role": "user", "content": prompt}]}
            file.write(json.dumps({"custom_id": f"request-{number}", "body": body}) + "\n")


# The bare loop: what any program of this kind has to do, and nothing else.


class BareConnection(asyncio.Protocol):
    def __init__(self, work: "BareLoop") -> None:
        self.work = work
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.next()

    def next(self) -> None:
        line = next(self.work.lines, None)
        if line is None:
            self.transport.close()
            return
        self.custom_id = line.custom_id
        body = bytes(line.body)
        self.body = b""
        self.transport.write(b"%b%d\r\n\r\n%b" % (self.work.head, len(body), body))

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.work.take(self.custom_id, self.body)
        self.next()


class BareLoop:
    def __init__(self, source: Path, target: Path, port: int, requests: int) -> None:
        decode = msgspec.json.Decoder(Line).decode
        self.file = source.open("rb", buffering=1 << 20)
        self.lines = map(decode, self.file)
        self.out = target.open("wb", buffering=1 << 20)
        self.head = Target.parse(f"http://127.0.0.1:{port}/v1").post_head("/chat/completions")
        self.metered = msgspec.json.Decoder(Metered).decode
        self.encode = msgspec.json.Encoder().encode
        self.missing = requests
        self.done = asyncio.Event()

    def take(self, custom_id: str, body: bytes) -> None:
        self.metered(body)
        self.out.write(b'{"custom_id":%b,"body":%b}\n' % (self.encode(custom_id), body))
        self.missing -= 1
        if not self.missing:
            self.out.close()
            self.done.set()


async def bare(source: Path, folder: Path, port: int, requests: int, in_flight: int) -> float:
    work = BareLoop(source, folder / "bare.jsonl", port, requests)
    loop = asyncio.get_running_loop()
    before = cpu_seconds()
    for _ in range(in_flight):
        await loop.create_connection(lambda: BareConnection(work), "127.0.0.1", port)
    await work.done.wait()
    return cpu_seconds() - before


async def with_aiohttp(
    source: Path,
    folder: Path,
    port: int,
    requests: int,  # noqa: ARG001  all clients are called alike
    in_flight: int,
) -> float:
    decode = msgspec.json.Decoder(Line).decode
    metered = msgspec.json.Decoder(Metered).decode
    encode = msgspec.json.Encoder().encode
    url = f"http://127.0.0.1:{port}{ENDPOINT}"
    headers = {"Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=in_flight)
    with source.open("rb") as file, (folder / "aiohttp.jsonl").open("wb", 1 << 20) as out:
        lines = map(decode, file)

        async def slot(session: aiohttp.ClientSession) -> None:
            for line in lines:
                async with session.post(url, data=bytes(line.body), headers=headers) as reply:
                    body = await reply.read()
                metered(body)
                out.write(b'{"custom_id":%b,"body":%b}\n' % (encode(line.custom_id), body))

        async with aiohttp.ClientSession(connector=connector) as session:
            before = cpu_seconds()
            await asyncio.gather(*(slot(session) for _ in range(in_flight)))
            return cpu_seconds() - before


async def ours(source: Path, folder: Path, port: int, requests: int, in_flight: int) -> float:
    seams = Seams()
    disk = seams.disk
    segments = folder / f"segments-{os.getpid()}"
    disk.make_folder(segments)
    plan_path = segments / "plan"
    with closing(disk.open(source)) as input_file, closing(disk.create(plan_path)) as plan_file:
        validation = Validation(input_file, plan_file, LineRules(endpoint=ENDPOINT))
        for _ in validation.steps():
            pass
    assert validation.plan is not None
    waiting = list(validation.plan.shards)
    missing = len(waiting)
    dispatcher = Dispatcher(seams, DispatchOptions())
    target = Target.parse(f"http://127.0.0.1:{port}/v1")
    with closing(disk.open(source)) as input_file, closing(disk.open(plan_path)) as plan_file:
        async with dispatcher.running():
            lane = dispatcher.add_lane(LaneOptions(target, max_in_flight=in_flight))
            before = cpu_seconds()
            while missing:
                while waiting and dispatcher.wanted(lane) > 0:
                    plan = waiting.pop(0)
                    order = ShardOrder("batch_" + "a" * 24, plan.ordinal, 1, plan.model, ENDPOINT)
                    window = load_window(plan_file, input_file, plan)
                    writer, index = begin_segment(disk, segments, plan.ordinal, 1)
                    dispatcher.open(OpenShard(order, window, writer, index))
                await asyncio.sleep(0.05)
                while not dispatcher.finished.empty():
                    dispatcher.finished.get_nowait()
                    missing -= 1
            spent = cpu_seconds() - before
    assert dispatcher.counts.succeeded == requests
    disk.remove_folder(segments)
    return spent


CLIENTS = {"overnight": ours, "bare asyncio + httptools": bare, "aiohttp": with_aiohttp}


def measure(client: str, given: argparse.Namespace, source: Path, port: int) -> dict[str, float]:
    """One client, once, in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--one",
        client,
        "--source",
        str(source),
        "--port",
        str(port),
    ]
    command += ["--requests", str(given.requests), "--in-flight", str(given.in_flight)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def one(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        client = CLIENTS[given.one]
        spent = uvloop.run(
            client(given.source, Path(folder), given.port, given.requests, given.in_flight)
        )
        rate = given.requests / (time.monotonic() - began)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"us": spent / given.requests * 1e6, "rate": rate, "rss": rss}))


def table(results: dict[str, list[dict[str, float]]]) -> None:
    bare_us = statistics.median(run["us"] for run in results["bare asyncio + httptools"])
    print(f"{'client':26} {'CPU us/request':>15} {'min - max':>15} {'x bare':>7} {'MB':>5}")
    for client, runs in results.items():
        us = [run["us"] for run in runs]
        middle = statistics.median(us)
        spread = f"{min(us):.1f} - {max(us):.1f}"
        rss = statistics.median(run["rss"] for run in runs)
        print(f"{client:26} {middle:15.1f} {spread:>15} {middle / bare_us:7.2f} {rss:5.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=40_000)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt-bytes", type=int, default=200)
    parser.add_argument("--one", choices=CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given)
        return
    upstream = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("upstream.py"), "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = int(upstream.stdout.readline())
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "input.jsonl"
            write_input(source, given.requests, given.prompt_bytes)
            results: dict[str, list[dict[str, float]]] = {client: [] for client in CLIENTS}
            for number in range(given.rounds):
                for client, runs in results.items():
                    runs.append(measure(client, given, source, port))
                print(f"round {number + 1} of {given.rounds} done", file=sys.stderr)
        print(
            f"{given.requests:,} requests, {given.in_flight} in flight,"
            f" prompts of {given.prompt_bytes} bytes, {given.rounds} rounds in turn\n"
        )
        table(results)
    finally:
        upstream.kill()
        upstream.wait()


if __name__ == "__main__":
    main()
