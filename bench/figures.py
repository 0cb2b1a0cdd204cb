"""What a bench measured, beside its target and its peers, and the table of it."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Figure:
    """One row. `values` has one number per round, and so has each of the `peers`, measured in the
    same rounds, in the same unit.

    `at_most` or `at_least` is the target for the median; `ratio_at_most` or `ratio_at_least` one
    for the median's ratio to the first peer's. None: not aimed at.
    """

    what: str
    unit: str
    values: Sequence[float]
    at_most: float | None = None
    at_least: float | None = None
    peers: Mapping[str, Sequence[float]] = field(default_factory=dict)
    ratio_at_most: float | None = None
    ratio_at_least: float | None = None
    note: str = ""
    """Where the time goes, or why something is missing: one sentence."""
    plot: str = ""
    """Figures of one name are drawn into one picture, by `at` where they have it."""
    at: float | None = None
    """How many lines, how many in flight."""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def ratio(self) -> float | None:
        """Of the rounds' own ratios to the first peer, the median: noise disturbs both."""
        peer = next(iter(self.peers.values()), None)
        if not peer:
            return None
        return statistics.median(
            ours / theirs for ours, theirs in zip(self.values, peer, strict=True)
        )

    @property
    def met(self) -> bool | None:
        """None when there is no target."""
        checks = [
            (self.at_most, self.median, 1),
            (self.at_least, self.median, -1),
            (self.ratio_at_most, self.ratio, 1),
            (self.ratio_at_least, self.ratio, -1),
        ]
        known = [
            value * sign <= limit * sign
            for limit, value, sign in checks
            if limit is not None and value is not None
        ]
        return all(known) if known else None

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "median": self.median, "ratio": self.ratio, "met": self.met}


HEADINGS = ("what", "median", "min – max", "target", "beside it", "ratio", "")


def cells(figure: Figure) -> tuple[str, ...]:
    """A row of the table, in the order of `HEADINGS`."""
    peers = "; ".join(
        f"{name} {number(statistics.median(values))}" for name, values in figure.peers.items()
    )
    return (
        figure.what,
        f"{number(figure.median)} {figure.unit}",
        f"{number(min(figure.values))} – {number(max(figure.values))}",
        _target(figure),
        peers,
        "" if figure.ratio is None else f"{figure.ratio:.2f}",
        {True: "met", False: "NOT MET", None: ""}[figure.met],
    )


def number(value: float) -> str:
    """Three digits or so, whatever the size."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _target(figure: Figure) -> str:
    said = [
        f"{sign} {number(limit)}{suffix}"
        for sign, limit, suffix in (
            ("≤", figure.at_most, ""),
            ("≥", figure.at_least, ""),
            ("≤", figure.ratio_at_most, " ×"),
            ("≥", figure.ratio_at_least, " ×"),
        )
        if limit is not None
    ]
    return ", ".join(said)


def text_table(figures: Iterable[Figure]) -> str:
    rows = [HEADINGS, *(cells(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def markdown_table(figures: Sequence[Figure]) -> str:
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(cells(figure) for figure in figures)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def to_lines(figures: Iterable[Figure]) -> str:
    """How a bench hands its figures to whoever runs it: one JSON object a line."""
    return "".join(json.dumps(figure.as_json(), ensure_ascii=False) + "\n" for figure in figures)
