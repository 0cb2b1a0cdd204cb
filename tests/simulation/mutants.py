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
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Tests import each other by names that begin below this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from simulation.planted import MUTANTS, Mutant

ROOT: Final = Path(__file__).resolve().parents[2]
SEEDS: Final = 150
"""Worlds a mutant has to survive."""


@dataclass(frozen=True, slots=True)
class Caught:
    worlds: int
    rule: str
    seconds: float


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
        began = time.monotonic()
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "tests.simulation", f"--seeds=0:{SEEDS}"),
                *(f"--with={kind}" for kind in mutant.insisted),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    found = re.search(r"^seed (\d+) breaks \d+ rules:\n  (.*)$", ended.stdout, re.MULTILINE)
    if found is not None:
        return Caught(int(found[1]) + 1, found[2], time.monotonic() - began)
    if ended.returncode:
        raise RuntimeError(f"{mutant.name}: the simulation itself broke:\n{ended.stderr[-2000:]}")
    return None


def main(words: list[str]) -> int:
    chosen = [mutant for mutant in MUTANTS if not words or any(w in mutant.name for w in words)]
    survivors = 0
    print("world  seconds  planted fault, and the rule that it broke")
    for mutant in chosen:
        caught = hunt(mutant)
        survivors += caught is None
        found = f"{caught.worlds:>5}  {caught.seconds:>7.1f}" if caught else f"{'-':>5}  {'-':>7}"
        print(f"{found}  {mutant.name}")
        rule = caught.rule if caught else f"SURVIVED {SEEDS} worlds"
        print(f"{'':16}{rule[:84]}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} planted faults were caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
