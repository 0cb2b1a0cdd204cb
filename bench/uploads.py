"""What an upload costs the API process, in one request and in three steps, beside `cp`.

A file of 1 GB comes over one connection of the same machine. Counted are the CPU seconds of the
API process alone, user and system: it reads, checks, hashes (sha256, and xxh3 for each 64 KiB),
writes and syncs. `cp` only reads and writes. Memory is the peak during the uploads over what the
process had before them.

The first round is not counted, and the bytes of each file go before the next comes: so all write
into pages that the machine has used before. Fresh ones cost a virtual machine up to a second per
GB, whoever asks for them.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from bench.api import Client, roles
from bench.figures import Figure
from bench.inputs import one_body, write_input
from bench.processes import cpu_seconds, memory_mb, run, service, upstream
from bench.scale import Scale

PROMPT_BYTES = 8_000
GB = 1e9

WAYS: dict[str, Callable[[Client, Path], str]] = {
    "one request": Client.upload,
    "three steps": Client.upload_in_steps,
}


@dataclass
class Costs:
    """Seconds per GB, one number per round."""

    uploads: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in WAYS})
    copies: list[float] = field(default_factory=list)


def figures(scale: Scale) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as name, upstream() as port:
        folder = Path(name)
        source = folder / "input.jsonl"
        write_input(source, scale.of(1_000_000_000) // len(one_body(PROMPT_BYTES)), PROMPT_BYTES)
        with service(folder / "data", port) as (url, pid):
            api = roles(pid)["api"]
            resting = memory_mb(api, "VmRSS")
            costs = Costs()
            for number in range(scale.rounds + 1):
                _round(source, url, api, costs if number else Costs())
            growth = memory_mb(api) - resting
    for way, values in costs.uploads.items():
        yield Figure(
            f"upload in {way}, CPU of the API",
            "s/GB",
            values,
            at_most=1.3,
            peers={"cp": costs.copies},
            note="sha256 alone takes 0.5 s/GB; the rest are the kernel's copies from the socket "
            "and into the file, and the syncs.",
        )
    yield Figure("upload, growth of the API's memory", "MB", [growth], at_most=60)


def _round(source: Path, url: str, api: int, costs: Costs) -> None:
    size = source.stat().st_size / GB
    for way, upload in WAYS.items():
        # A connection of its own each time: between two, the service would hang up.
        with closing(Client(url)) as client:
            before = cpu_seconds(api)
            file_id = upload(client, source)
            costs.uploads[way].append((cpu_seconds(api) - before) / size)
            client.ask("DELETE", f"/openai/v1/files/{file_id}")
        # The service itself waits ten minutes for those who still read it.
        (source.parent / "data" / "files" / file_id).unlink()
    copy = source.with_suffix(".copy")
    costs.copies.append(run(["cp", source, copy]).cpu_seconds / size)
    copy.unlink()
