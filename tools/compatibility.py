"""Write docs/compatibility.md from what the conformance suite ran.

    make test ARGS=tests/conformance            runs every client
    python -m tools.compatibility               writes the report and the page of that run

A test holds the page against the report, and the report against the clients and steps there are.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from tests.conformance.catalogue import CLIENTS, STEPS, ClientUnderTest
from tests.conformance.report import REPORT, gathered, written
from tools.environment import ROOT

PAGE: Final = ROOT / "docs" / "compatibility.md"

Report = dict[str, dict[str, dict[str, str]]]

_INTRODUCTION: Final = """\
<!-- Written by tools/compatibility.py. -->

# Compatibility

Which clients work, and how far. Each was run as it is published, in the version named here, against
a running service: nothing was set but the base URL and the key. The suite is `tests/conformance`;
every cell is at least one call whose answer was compared with what it should be.

- **yes**: it works, and what the client tells its user is right.
- **none**: the client has no call for it. (Of the `together` command line some steps are left out
  that are its SDK's.)
- **no**: something differs; what, is told under the table."""

_BASE_URLS: Final = """\
## What to set

| client | base URL |
| --- | --- |
| openai, litellm, OpenAI's SDK for Node.js | `http://HOST:8024/v1` |
| `AzureOpenAI` | `azure_endpoint="http://HOST:8024"`, any `api_version` |
| together 1.x, 2.x | `http://HOST:8024/v1` |
| together 3.x | `http://HOST:8024` |

How a request's dialect is found is told in [dialects](concepts/dialects.md). A bare `curl` speaks
OpenAI's unless its key says otherwise (`overnight keys create NAME --dialect together`)."""


def page(report: Report) -> str:
    rows = [told for client in report.values() for told in client["steps"].values()]
    works = sum(told == "ok" for told in rows)
    total = f"{works} of {len(rows)} steps of {len(report)} clients work."
    parts = [_INTRODUCTION, total, _BASE_URLS]
    for family, members in groupby(CLIENTS, lambda client: client.family):
        parts += _section(family, list(members), report)
    return "\n\n".join(parts) + "\n"


def _section(family: str, clients: Sequence[ClientUnderTest], report: Report) -> Iterator[str]:
    columns = {
        column: [client for client in clients if client.column == column]
        for column in dict.fromkeys(client.column for client in clients)
    }
    yield f"## {family}"
    for product in dict.fromkeys(client.product for client in clients):
        ways = dict.fromkeys(client.way for client in clients if client.product == product)
        if len(ways) > 1:
            yield f"{product} by {', '.join(ways)}."
    lines = ["| | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    lines += [
        f"| {said} | " + " | ".join(_cell(step, same, report) for same in columns.values()) + " |"
        for step, said in STEPS.items()
    ]
    yield "\n".join(lines)
    if notes := list(_notes(clients, report)):
        yield "\n".join(notes)


def _cell(step: str, clients: Sequence[ClientUnderTest], report: Report) -> str:
    """One word for all ways of a product, where they agree."""
    words = {client.way: _word(report[client.name]["steps"].get(step)) for client in clients}
    if len(set(words.values())) == 1:
        return words[clients[0].way]
    return "; ".join(f"{way} {word}" for way, word in words.items())


def _word(told: str | None) -> str:
    return {None: "none", "ok": "yes"}.get(told, "**no**")


def _notes(clients: Sequence[ClientUnderTest], report: Report) -> Iterator[str]:
    for client in clients:
        for step, told in report[client.name]["steps"].items():
            if told != "ok":
                quoted = told.replace("`", "'")
                yield f"- {client.column} {client.way}, {STEPS[step]}: `{quoted}`"


def main() -> int:
    try:
        report = gathered(CLIENTS)
    except ValueError as error:
        sys.stderr.write(f"There is no whole run to tell of: {error}.\n")
        sys.stderr.write("Run `make test ARGS=tests/conformance` first.\n")
        return 1
    REPORT.write_text(written(report))
    PAGE.write_text(page(read(REPORT)))
    return 0


def read(path: Path) -> Report:
    report: Report = json.loads(path.read_text())
    return report


if __name__ == "__main__":
    sys.exit(main())
