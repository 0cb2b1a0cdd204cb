"""What rounds came to, as a table for people or as JSON."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from chaos.frame import Outcome, Tally

LOG_LINES = 15
REPLAY = ".venv/bin/python -m tests.chaos --only {name} --seed {seed}"


@dataclass(slots=True)
class Row:
    """All rounds of one scenario."""

    name: str
    rounds: list[Outcome] = field(default_factory=list)

    @property
    def tally(self) -> Tally:
        total = Tally()
        for outcome in self.rounds:
            total.add(outcome.tally)
        return total

    @property
    def verdict(self) -> str:
        if any(outcome.failure for outcome in self.rounds):
            return "FAILED"
        if self.rounds and all(outcome.not_here for outcome in self.rounds):
            return "not here"
        return "kept" if self.rounds else "not run"


def rows_of(names: Sequence[str], outcomes: Sequence[Outcome]) -> list[Row]:
    rows = {name: Row(name) for name in names}
    for outcome in outcomes:
        rows[outcome.scenario].rounds.append(outcome)
    return list(rows.values())


def table(rows: Sequence[Row], seconds: float) -> str:
    """Not wider than 80 columns; below each scenario what was done to it."""
    titles = ("scenario", "seeds", "jobs", "requests", "again", "missing", "twice", "verdict")
    body = [_cells(row.name, len(row.rounds), row.tally, row.verdict) for row in rows]
    every = Row("all", [outcome for row in rows for outcome in row.rounds])
    body.append(_cells(every.name, len(every.rounds), every.tally, every.verdict))
    widths = [max(map(len, column)) for column in zip(titles, *body, strict=True)]
    lines = [_line(titles, widths)]
    for row, cells in zip(rows, body, strict=False):
        lines.append(_line(cells, widths))
        lines += [f"    {line}" for line in _notes(row)]
    lines += [_line(body[-1], widths), *(f"    {line}" for line in _wrapped(every.tally.faults))]
    return "\n".join([*lines, f"{seconds:.0f} s"])


def _cells(name: str, seeds: int, tally: Tally, verdict: str) -> tuple[str, ...]:
    numbers = (tally.jobs, tally.requests, tally.sent_again, tally.missing, tally.twice)
    return (name, str(seeds), *(f"{number:,}" for number in numbers), verdict)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *middle, last = cells
    right = [cell.rjust(width) for cell, width in zip(middle, widths[1:-1], strict=True)]
    return "  ".join([first.ljust(widths[0]), *right, last]).rstrip()


def _notes(row: Row) -> list[str]:
    lacks = sorted({outcome.not_here for outcome in row.rounds if outcome.not_here})
    return [*_wrapped(row.tally.faults), *lacks]


def _wrapped(faults: Counter[str]) -> list[str]:
    lines = [""]
    for kind, count in sorted(faults.items()):
        piece = f"{kind} {count:,}"
        if lines[-1] and len(lines[-1]) + len(piece) > 70:
            lines[-1] += ","
            lines.append("")
        lines[-1] += f", {piece}" if lines[-1] else piece
    return [line for line in lines if line]


def failure(outcome: Outcome) -> str:
    """What was broken, what the processes said last, and the command that tries it again."""
    said = [f"  | {line}" for line in outcome.log[-LOG_LINES:]]
    return "\n".join(
        [
            f"{outcome.scenario}, seed {outcome.seed}: {outcome.failure}",
            *said,
            f"  its files: {outcome.kept}",
            f"  again: {REPLAY.format(name=outcome.scenario, seed=outcome.seed)}",
        ]
    )


def as_json(rows: Sequence[Row], seconds: float) -> dict[str, object]:
    return {"seconds": round(seconds, 1), "scenarios": [_row_json(row) for row in rows]}


def _row_json(row: Row) -> dict[str, object]:
    tally = row.tally
    return {
        "name": row.name,
        "verdict": row.verdict,
        "seeds": [outcome.seed for outcome in row.rounds],
        "faults": dict(sorted(tally.faults.items())),
        "jobs": tally.jobs,
        "requests": tally.requests,
        "sent_again": tally.sent_again,
        "missing": tally.missing,
        "twice": tally.twice,
        "failures": [
            {
                "seed": outcome.seed,
                "what": outcome.failure,
                "again": REPLAY.format(name=row.name, seed=outcome.seed),
            }
            for outcome in row.rounds
            if outcome.failure
        ],
        "not_here": sorted({outcome.not_here for outcome in row.rounds if outcome.not_here}),
    }
