"""All scenarios there are. A module of them is added by its name."""

from importlib import import_module

from chaos.frame import Scenario

MODULES: tuple[str, ...] = (
    "kills",
    "freezes",
    "starts",
    "rivals",
    "drains",
    "orphans",
    "busy",
    "full_disk",
)
"""Each has `SCENARIOS`, a tuple of `Scenario`."""


def scenarios() -> list[Scenario]:
    """In the order of the report; their names are unlike each other."""
    found: list[Scenario] = []
    for name in MODULES:
        found += import_module(f"chaos.{name}").SCENARIOS
    assert len({scenario.name for scenario in found}) == len(found)
    return found
