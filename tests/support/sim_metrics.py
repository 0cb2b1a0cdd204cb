"""Reads Prometheus' text format 0.0.4, and refuses what a strict reader would."""

import re
from dataclasses import dataclass, field

SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{(.*)\} (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\[\\"n])*)"(?:,|$)')
OF_A_HISTOGRAM = ("_bucket", "_count", "_sum")

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Family:
    kind: str
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)


def read_metrics(text: str) -> dict[str, Family]:
    """By name; a histogram's samples have their suffix in their name."""
    assert text.endswith("\n")
    families: dict[str, Family] = {}
    lines = iter(text.splitlines())
    family, name = Family("untyped"), ""
    for line in lines:
        if line.startswith("# HELP "):
            name = line.split(" ")[2]
            keyword, typed, kind = next(lines).removeprefix("# ").split(" ")
            assert (keyword, typed) == ("TYPE", name)
            assert name not in families
            family = families[name] = Family(kind)
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        suffix = match[1].removeprefix(name)
        assert suffix in (OF_A_HISTOGRAM if family.kind == "histogram" else ("",)), line
        labels = LABEL.findall(match[2])
        assert ",".join(f'{key}="{value}"' for key, value in labels) == match[2], line
        key = (match[1], tuple(sorted(labels)))
        assert key not in family.samples, f"twice: {line}"
        family.samples[key] = float(match[3])
    for name, family in families.items():
        _check(name, family)
    return families


def _check(name: str, family: Family) -> None:
    assert family.samples, name
    if family.kind == "counter":
        assert name.endswith("_total")
        assert all(value >= 0 for value in family.samples.values())
    if family.kind == "histogram":
        counts = [(key, value) for (key, value) in family.samples.items() if "_bucket" in key[0]]
        bounds = [float(dict(labels)["le"]) for (_, labels), _ in counts]
        assert bounds == sorted(bounds)
        assert bounds[-1] == float("inf")
        values = [value for _, value in counts]
        assert values == sorted(values), "each bucket holds those below it too"
        assert values[-1] == value_of(family, "_count")


def value_of(family: Family, suffix: str = "", **labels: str) -> float:
    """Of the only sample with this suffix and these labels."""
    found = [
        value
        for (name, given), value in family.samples.items()
        if name.endswith(suffix) and labels.items() <= dict(given).items()
    ]
    assert len(found) == 1, found
    return found[0]
