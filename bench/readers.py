"""Reads a file of requests in one of several ways, in a process of its own, and tells the cost.

python bench/readers.py overnight|plain|orjson|pyarrow|polars FILE

CPU seconds are counted once the libraries are imported. Peers run in an environment of their own,
so each way imports what it needs.
"""
# ruff: noqa: PLC0415

import json
import resource
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

BLOCK_BYTES = 256 * 1024


def overnight(path: Path) -> Callable[[], None]:
    """All that the clerk does: block digests, every check, duplicates, the plan."""
    from overnight.domain.block_digests import BlockHasher
    from overnight.domain.request import LineRules
    from overnight.seams import SystemDisk
    from overnight.service.validator import Validation
    from overnight.store.verified import verified

    hasher = BlockHasher()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            hasher.update(block)
    disk, digests = SystemDisk(), hasher.digests()

    def read() -> None:
        plan = Path(tempfile.mkdtemp()) / "plan"
        with (
            closing(verified(disk.open(path), "the input", digests)) as source,
            closing(disk.create(plan)) as target,
        ):
            validation = Validation(source, target, LineRules("/v1/chat/completions"))
            for _ in validation.steps():
                pass
        plan.unlink()
        plan.parent.rmdir()
        assert validation.plan is not None, validation.faults[:3]

    return read


def plain(path: Path) -> Callable[[], None]:
    """What `cat` does: read it."""

    def read() -> None:
        with path.open("rb", 0) as file:
            while file.read(BLOCK_BYTES):
                pass

    return read


def orjson(path: Path) -> Callable[[], None]:
    """A script that parses each line and collects the ids, to find duplicates."""
    from orjson import loads

    def read() -> None:
        ids = set()
        with path.open("rb", BLOCK_BYTES) as file:
            for line in file:
                request = loads(line)
                ids.add(request["custom_id"])
                assert request["body"]["model"]

    return read


def pyarrow(path: Path) -> Callable[[], None]:
    from pyarrow import json as arrow_json

    def read() -> None:
        assert arrow_json.read_json(path).num_rows

    return read


def polars(path: Path) -> Callable[[], None]:
    from polars import read_ndjson

    def read() -> None:
        assert read_ndjson(path).height

    return read


def main() -> None:
    _, way, path = sys.argv
    ways = (overnight, plain, orjson, pyarrow, polars)
    read = {each.__name__: each for each in ways}[way](Path(path))
    before = _cpu_seconds()
    read()
    spent = _cpu_seconds() - before
    print(json.dumps({"cpu_seconds": spent, "mb": _peak_mb()}))


def _peak_mb() -> float:
    """Unlike `ru_maxrss`, not inherited from the process that started this one."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
