"""What a request costs a worker, beside wrk, a bare loop, and the clients people use.

All do the same job in turn, round after round, against an upstream that answers at once: POST the
body of each line of a file, check the reply, write a result line. (wrk sends one constant body and
reads nothing.) Figures are CPU microseconds per request of the client process, user and system,
from the first request to the last result; walls on a busy machine say little. Ours does all that a
worker does but its database transactions, which `files.py` counts in.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.clients.call import measure
from bench.figures import Figure
from bench.inputs import one_body, write_input
from bench.peers import python_of_peers
from bench.processes import upstream
from bench.scale import Scale
from bench.wrk import Wrk

IN_FLIGHT = 256


def figures(scale: Scale) -> Iterator[Figure]:
    yield from _with_prompts(scale, 200, "280 B bodies", at_most=15, ratio_at_most=1.6)
    yield from _with_prompts(scale, 8_000, "8 KB prompts", at_most=22)


def _with_prompts(
    scale: Scale, prompt_bytes: int, kind: str, at_most: float, ratio_at_most: float | None = None
) -> Iterator[Figure]:
    requests = scale.of(40_000) if prompt_bytes < 1_000 else scale.of(20_000)
    peers = python_of_peers()
    # A client in each row: its script, its Python, and how many requests suffice to know it.
    clients = {
        "overnight": ("ours.py", sys.executable, requests),
        "bare asyncio + httptools": ("bare.py", sys.executable, requests),
        "pyreqwest": ("with_pyreqwest.py", peers, requests),
        "aiohttp": ("with_aiohttp.py", peers, requests // 2),
        "openai loop": ("with_openai.py", peers, 512),
    }
    wrk = Wrk.find()
    found: dict[str, list[float]] = {name: [] for name in clients}
    cheapest: list[float] = []
    with tempfile.TemporaryDirectory() as folder, upstream() as port:
        source = Path(folder) / "input.jsonl"
        write_input(source, requests, prompt_bytes)
        for number in range(scale.rounds):
            for name, (script, python, count) in clients.items():
                if name == "openai loop" and number:
                    found[name].append(found[name][0])  # Its ratio is known after one.
                    continue
                part = source if count == requests else _head(source, count)
                found[name].append(measure(script, python, part, port, count, IN_FLIGHT)["us"])
            if wrk:
                cheapest.append(wrk.cpu_us(port, IN_FLIGHT, one_body(prompt_bytes)))
    ours = found.pop("overnight")
    yield Figure(
        f"worker, CPU per request, {kind}, {IN_FLIGHT} in flight",
        "µs",
        ours,
        at_most=at_most,
        peers={**found, **({"wrk": cheapest} if cheapest else {})},
        ratio_at_most=ratio_at_most,
        plot="clients" if ratio_at_most else "",
    )


def _head(source: Path, lines: int) -> Path:
    part = source.with_name(f"{lines}.jsonl")
    if not part.exists():
        with source.open("rb") as file, part.open("wb") as out:
            out.writelines(line for _, line in zip(range(lines), file, strict=False))
    return part
