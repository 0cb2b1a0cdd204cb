"""Draws figures into pictures; runs in the environment of the peers, which has matplotlib.

python bench/plots.py FOLDER < figures.jsonl
"""

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
# The same picture from the same figures, so that only what changed is a change.
mpl.rcParams.update({"svg.hashsalt": "overnight", "svg.fonttype": "none", "font.size": 10})

from matplotlib import pyplot as plt  # noqa: E402  the backend is chosen first
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

OURS, THEIRS = "#2a6f97", "#b8b8b8"
Row = dict[str, Any]


def main() -> None:
    folder = Path(sys.argv[1])
    rows = [json.loads(line) for line in sys.stdin]
    for name, draw in (("clients", clients), ("memory", memory), ("rates", rates)):
        if chosen := [row for row in rows if row["plot"] == name]:
            figure = draw(chosen)
            figure.tight_layout()
            figure.savefig(folder / f"bench-{name}.svg", metadata={"Date": None})


def clients(rows: Sequence[Row]) -> Figure:
    """CPU per request by client; logarithmic, for the spread is a thousandfold."""
    values = {name: statistics.median(found) for name, found in rows[0]["peers"].items()}
    values["overnight"] = rows[0]["median"]
    names = sorted(values, key=lambda name: -values[name])
    figure, axes = plt.subplots(figsize=(8, 0.45 * len(names) + 1))
    colours = [OURS if name == "overnight" else THEIRS for name in names]
    bars = axes.barh(names, [values[name] for name in names], color=colours)
    axes.bar_label(bars, [f"{values[name]:,.1f}" for name in names], padding=3)
    axes.set_xscale("log")
    axes.set_xlabel("CPU microseconds per request (logarithmic)")
    axes.margins(x=0.15)
    return _plain(figure, axes)


def memory(rows: Sequence[Row]) -> Figure:
    """Peak memory by lines of the file."""
    figure, axes = plt.subplots(figsize=(8, 4))
    _lines(axes, rows)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("lines of the file")
    axes.set_ylabel("peak memory, MB")
    axes.legend(frameon=False)
    return _plain(figure, axes)


def rates(rows: Sequence[Row]) -> Figure:
    """Requests per second by how many are in flight."""
    figure, axes = plt.subplots(figsize=(8, 4))
    _lines(axes, [{**row, "what": "overnight"} for row in rows])
    axes.set_xscale("log", base=2)
    axes.set_xticks([row["at"] for row in rows], [f"{row['at']:,.0f}" for row in rows])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("requests in flight")
    axes.set_ylabel("requests per second")
    axes.legend(frameon=False)
    return _plain(figure, axes)


def _lines(axes: Axes, rows: Sequence[Row]) -> None:
    """A line for each name up to its first comma, and one for each of the peers."""
    series: dict[str, list[tuple[float, float]]] = {}
    ours = set()
    for row in rows:
        name = row["what"].partition(",")[0]
        ours.add(name)
        series.setdefault(name, []).append((row["at"], row["median"]))
        for peer, values in row["peers"].items():
            series.setdefault(peer, []).append((row["at"], statistics.median(values)))
    for name, points in series.items():
        xs, ys = zip(*sorted(points), strict=True)
        style = "-" if name in ours else "--"
        axes.plot(
            xs, ys, style, marker="o", label=name, color=OURS if name == "overnight" else None
        )


def _plain(figure: Figure, axes: Axes) -> Figure:
    axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main()
