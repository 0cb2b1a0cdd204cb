"""What many worlds came to: how much went wrong, by kind, and how much was done in spite of it."""

import json
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from simulation.machine import Report

_SHOW_SECONDS = 0.5


@dataclass
class Tally:
    """Names of counts are `group: kind`."""

    worlds: int = 0
    first_seed: int = 0
    last_seed: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    _began: float = field(default_factory=time.monotonic)
    _shown: float = 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def add(self, report: Report) -> None:
        self.first_seed = self.first_seed if self.worlds else report.seed
        self.last_seed = report.seed
        self.worlds += 1
        self.counts += report.counts

    @property
    def groups(self) -> dict[str, Counter[str]]:
        groups: dict[str, Counter[str]] = defaultdict(Counter)
        for name, count in sorted(self.counts.items()):
            group, _, kind = name.partition(": ")
            groups[group][kind] = count
        return groups

    def table(self) -> str:
        rate = self.worlds / max(self.seconds, 0.001)
        seeds = f"{self.first_seed}:{self.last_seed + 1}"
        lines = [
            f"{self.worlds:,} worlds in {self.seconds:,.0f} s, {rate:.1f} a second: all rules kept",
            f"again: .venv/bin/python -m tests.simulation --seeds {seeds}",
        ]
        for group, kinds in self.groups.items():
            lines += ["", group]
            lines += [f"{count:>12,}  {kind}" for kind, count in kinds.most_common()]
        return "\n".join(lines)

    def as_json(self) -> str:
        told = {
            "worlds": self.worlds,
            "seconds": round(self.seconds, 1),
            "seeds": [self.first_seed, self.last_seed],
            "counts": self.groups,
        }
        return json.dumps(told, indent=2)

    def show(self, *, done: bool = False) -> None:
        """One line that tells how far it is, where somebody looks."""
        if not sys.stderr.isatty() or (not done and self.seconds - self._shown < _SHOW_SECONDS):
            return
        self._shown = self.seconds
        line = (
            "" if done else f"{self.worlds:,} worlds, {self.seconds:,.0f} s, seed {self.last_seed}"
        )
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
