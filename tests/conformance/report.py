"""What the suite saw: a row for each client and step, and the report that is kept of them."""

import json
import re
from collections.abc import Iterable
from typing import Final

from tests.conformance.catalogue import ClientUnderTest
from tools.environment import ROOT

FOLDER: Final = ROOT / ".cache" / "conformance"
REPORT: Final = ROOT / "tests" / "conformance" / "report.json"
"""Committed; it says nothing of when and where, so that the same outcome is the same file."""

Rows = dict[str, str | None]
"""What differs, by step; None where nothing does."""

_CHANCE: Final = re.compile(r"\b(?:[0-9a-f]{20,})|(?<=/tmp/)\S+")


class RowsOf:
    """A file of JSON lines, `step` and `differs`, that the client's program adds to."""

    def __init__(self, client: ClientUnderTest) -> None:
        self.path = FOLDER / f"{client.name}.jsonl"

    def clear(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)

    def read(self) -> Rows:
        """Empty when the client was not run; without the steps that it did not come to."""
        if not self.path.exists():
            return {}
        rows = [json.loads(line) for line in self.path.read_text().splitlines()]
        return {row["step"]: row["differs"] for row in rows}

    def that_differ(self) -> Rows:
        return {step: differs for step, differs in self.read().items() if differs is not None}


def gathered(clients: Iterable[ClientUnderTest]) -> dict[str, object]:
    """The report of the latest run; raises `ValueError` naming the clients that it left out."""
    rows = {client: RowsOf(client).read() for client in clients}
    if missing := [client.name for client, seen in rows.items() if not seen]:
        raise ValueError(f"these were not run: {', '.join(missing)}")
    return {
        client.name: {
            "client": client.column,
            "steps": {step: _told(seen, step) for step in client.steps},
        }
        for client, seen in rows.items()
    }


def _told(seen: Rows, step: str) -> str:
    """`ok`, or what differs without what chance has made of it."""
    differs = seen.get(step, "it did not come to it")
    return "ok" if differs is None else _CHANCE.sub("…", differs)


def written(report: dict[str, object]) -> str:
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"
