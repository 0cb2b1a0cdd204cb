"""Does the simulation catch anything? Break one line that keeps data safe at a time, and see.

    python -m tests.simulation.mutants [WORD …]

Each mutant is a copy of `src` with one fault planted; simulated worlds are run over it until one
breaks a rule. Prints a table, and ends with 1 if a mutant survives them all.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
SEEDS: Final = 150
"""Worlds a mutant has to survive."""

Edit = tuple[str, str, str]
"""File below `src/overnight`, what stands there once, and what is put in its place."""


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Caught:
    worlds: int
    rule: str


_ANY_RENEWAL: Final[Edit] = (
    "service/lease.py",
    "if not workers.renew(tx, self._id, self._clock.now() + self._seconds):",
    "if workers.renew(tx, self._id, self._clock.now() + self._seconds) is None:",
)
_COMMIT: Final = "        await self._database.write(write)\n        whole ="

MUTANTS: Final = (
    Mutant("accept a lease that was taken away", (_ANY_RENEWAL,)),
    Mutant(
        "the same, and drop worker and epoch from the WHERE of shards",
        (
            _ANY_RENEWAL,
            (
                "store/shards.py",
                "and_(_is(job_id, ordinal), shards.c.worker == worker, shards.c.epoch == epoch)",
                "and_(_is(job_id, ordinal), shards.c.epoch != -epoch, worker == worker)",
            ),
        ),
    ),
    Mutant(
        "let no fence end a worker whose lease has run out",
        (
            (
                "service/lease.py",
                "self._fence.reschedule(asyncio.get_running_loop().time() + self.seconds_left)",
                "self._fence.reschedule(None)",
            ),
        ),
    ),
    Mutant(
        "publish although a worker still holds shards",
        (("store/jobs.py", "jobs.c.clerk.is_(None), ~held)", "jobs.c.clerk.is_(None))"),),
    ),
    Mutant(
        "skip the sync of a segment before it is settled",
        (
            (
                "dispatch/dispatcher.py",
                "            await self._sync(self._shards if all_due else complete)\n",
                "",
            ),
        ),
    ),
    Mutant(
        "skip the sync of what a takeover has copied",
        (
            (
                "dispatch/segment.py",
                "        writer.sync()\n        disk.publish(draft, path)",
                "        disk.publish(draft, path)",
            ),
        ),
    ),
    Mutant(
        "take over without copying",
        (("dispatch/segment.py", "open_latest(disk, folder, ordinal, epoch - 1)", "None"),),
    ),
    Mutant(
        "believe a frame without its checksum",
        (
            (
                "dispatch/segment.py",
                "len(payload) != size or _checksum(epoch, outcomes, payload) != checksum",
                "len(payload) != size",
            ),
        ),
    ),
    Mutant(
        "skip the sync of the plan",
        (("service/intake.py", "        await self._thread.run(self._plan.datasync)\n", ""),),
    ),
    Mutant(
        "skip the sync of the result files",
        (
            (
                "service/finalizer.py",
                "        await self._sync(result.output_bytes + result.error_bytes)\n",
                "",
            ),
        ),
    ),
    Mutant(
        "publish before the files have their names",
        (
            (
                "service/finalizer.py",
                "        self._disk.publish(draft, self._blobs.file_path(file_id))\n",
                "        self._reads.append((draft, self._blobs.file_path(file_id)))\n",
            ),
            (
                "service/finalizer.py",
                _COMMIT,
                _COMMIT.replace(
                    "whole", "[self._disk.publish(*p) for p in self._reads]\n        whole"
                ),
            ),
        ),
    ),
    Mutant(
        "remove the segments before the job has ended",
        (
            (
                "service/finalizer.py",
                _COMMIT,
                "        self._blobs.remove_job(self.claim.job.id)\n" + _COMMIT,
            ),
        ),
    ),
    Mutant(
        "count the outcomes of a shard twice",
        (
            (
                "store/shards.py",
                "succeeded=jobs.c.succeeded + counts.succeeded,",
                "succeeded=jobs.c.succeeded + 2 * counts.succeeded,",
            ),
        ),
    ),
    Mutant(
        "keep outcomes in memory for half a second",
        (("dispatch/dispatcher.py", "FLUSH_SECONDS: Final = 0.02", "FLUSH_SECONDS: Final = 0.5"),),
    ),
)


def plant(mutant: Mutant, source: Path) -> None:
    """Change the copy at `source`; raises `ValueError` when the code is not as it was."""
    for name, old, new in mutant.edits:
        path = source / "overnight" / name
        text = path.read_text()
        if text.count(old) != 1:
            raise ValueError(f"{name} has {text.count(old)} times {old!r}: adapt the mutant")
        path.write_text(text.replace(old, new))


def hunt(mutant: Mutant) -> Caught | None:
    """Run worlds over the mutant; None when it survives all of them."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        plant(mutant, source)
        ended = subprocess.run(
            [sys.executable, "-m", "tests.simulation", f"--seeds=0:{SEEDS}"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    found = re.search(r"^seed (\d+) breaks \d+ rules:\n  (.*)$", ended.stdout, re.MULTILINE)
    if found is not None:
        return Caught(int(found[1]) + 1, found[2])
    if ended.returncode:
        raise RuntimeError(f"{mutant.name}: the simulation itself broke:\n{ended.stderr[-2000:]}")
    return None


def main(words: list[str]) -> int:
    survivors = 0
    for mutant in MUTANTS:
        if not words or any(word in mutant.name for word in words):
            caught = hunt(mutant)
            survivors += caught is None
            worlds = f"{caught.worlds:>3}" if caught else "  -"
            print(f"{worlds}  {mutant.name}")
            print(f"     {caught.rule[:110] if caught else f'SURVIVED {SEEDS} worlds'}", flush=True)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
