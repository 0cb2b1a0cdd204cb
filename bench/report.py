"""Puts what was measured into docs: the table, the pictures, the machine and the versions."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure, markdown_table, to_lines
from bench.peers import python_of_peers
from bench.processes import BENCH, ROOT
from bench.scale import Scale

PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
LIBRARIES = (
    "uvloop",
    "httptools",
    "msgspec",
    "xxhash",
    "sqlalchemy",
    "uvicorn",
    "python-multipart",
)
PEERS = ("aiohttp", "openai", "pyreqwest", "polars", "pyarrow", "orjson")


def write(figures: Sequence[Figure], scale: Scale) -> None:
    """Replace what is between the two marks of the page, and draw the pictures.

    Rows of benches that were not run stay as they are.
    """
    plots = [python_of_peers(), BENCH / "plots.py", ROOT / "docs" / "images"]
    subprocess.run([str(part) for part in plots], input=to_lines(figures), text=True, check=True)
    page = PAGE.read_text()
    before, after = page[: page.index(BEGIN)], page[page.index(END) :]
    table = _merged(page[len(before) : page.index(END)], markdown_table(figures))
    measured = "\n\n".join((_made(scale), table, _notes(figures))).rstrip()
    PAGE.write_text(f"{before}{BEGIN}\n\n{measured}\n\n{after}")


def _merged(old: str, new: str) -> str:
    """The old table's rows, and in the place of those that there are anew, the new ones."""
    rows = {row.split("|")[1]: row for row in old.splitlines() if row.startswith("| ")}
    rows |= {row.split("|")[1]: row for row in new.splitlines()}
    return "\n".join(rows.values())


def _made(scale: Scale) -> str:
    today = datetime.datetime.now(tz=datetime.UTC).date()
    return (
        f"`make bench ARGS=--write`, {today}, {scale.rounds} rounds each, on {_machine()}; Python"
        f" {platform.python_version()}; {_versions()}."
    )


def _machine() -> str:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores of {cpu}, {memory:.0f} GiB, Linux {platform.release()}"


def _versions() -> str:
    ours = [f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES]
    script = (
        "import sys; from importlib.metadata import version;"
        "print(*(f'{name} {version(name)}' for name in sys.argv[1:]), sep=', ')"
    )
    asked = subprocess.run(
        [python_of_peers(), "-c", script, *PEERS], capture_output=True, text=True, check=True
    )
    return f"{', '.join(ours)}; peers: {asked.stdout.strip()}"


def _notes(figures: Sequence[Figure]) -> str:
    return "\n".join(f"- {figure.what}: {figure.note}" for figure in figures if figure.note)
