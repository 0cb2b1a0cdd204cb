"""Validation, all checks and duplicates included, beside readers that check less.

MB of the file per CPU second, user and system, from the first byte read to the plan written;
the file lies in the page cache. The clerk's reader also compares the digests of all blocks. A
plain read of the file is what `cat` does. The `orjson` loop parses each line and keeps the ids in
a set; `pyarrow` makes a table.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure
from bench.inputs import body
from bench.peers import python_of_peers
from bench.processes import BENCH
from bench.scale import Scale

PEERS = {"orjson": "orjson", "pyarrow": "pyarrow", "plain read": "plain"}


def figures(scale: Scale) -> Iterator[Figure]:
    yield from _of_lines(scale, 412, "412 B lines", scale.of(400_000), at_least=300)
    yield from _of_lines(scale, 8_192, "8 KB lines", scale.of(30_000), at_least=900)


def _of_lines(
    scale: Scale, line_bytes: int, kind: str, lines: int, at_least: float
) -> Iterator[Figure]:
    ours: list[float] = []
    peers: dict[str, list[float]] = {name: [] for name in PEERS}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "input.jsonl"
        write_lines(source, lines, line_bytes)
        megabytes = source.stat().st_size / 1e6
        for _ in range(scale.rounds):
            ours.append(megabytes / read_by(sys.executable, "overnight", source)["cpu_seconds"])
            for name, way in PEERS.items():
                cost = read_by(python_of_peers(), way, source)
                peers[name].append(megabytes / cost["cpu_seconds"])
    yield Figure(
        f"validation, all checks, {kind}", "MB per CPU s", ours, at_least=at_least, peers=peers
    )


def write_lines(path: Path, lines: int, line_bytes: int) -> None:
    """Lines with all four fields, nearly all of that length."""
    route = {"method": "POST", "url": "/v1/chat/completions"}
    bare = {"custom_id": "request-123456", **route, "body": body(0)}
    prompt_bytes = line_bytes - len(json.dumps(bare)) - 1
    end = json.dumps({**route, "body": body(prompt_bytes)})[1:].encode()
    with path.open("wb", 1 << 20) as file:
        for number in range(lines):
            file.write(b'{"custom_id": "request-%d", %b\n' % (number, end))


def read_by(python: str, way: str, source: Path) -> dict[str, float]:
    """What reading cost: `cpu_seconds`, and `mb` of memory at the peak."""
    command = [python, str(BENCH / "readers.py"), way, str(source)]
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(told.stdout)
