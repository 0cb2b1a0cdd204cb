"""The page about JSON names what is printed, no more and no less."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from overnight.cli.remote.results import Results
from overnight.cli.run import as_data
from overnight.client.views import STATUSES, FileView, JobView, LineFault
from overnight.client.webhooks import DeliveryView, WebhookView
from overnight.domain.api_key import ApiKey
from overnight.service.run import RunResult

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "json.md").read_text()


def documented(heading: str) -> list[str]:
    """The first column of the table below a heading."""
    return re.findall(r"^\| `(\w+)` \|", section(heading), re.MULTILINE)


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("heading", "printed"),
    [
        ("A job", JobView),
        ("A file", FileView),
        ("A fault", LineFault),
        ("Results", Results),
        ("A key", ApiKey),
        ("A webhook", WebhookView),
        ("A delivery", DeliveryView),
    ],
)
def test_fields(heading: str, printed: type) -> None:
    assert documented(heading) == [field.name for field in fields(printed)]


def test_statuses() -> None:
    (row,) = (line for line in section("A job").splitlines() if line.startswith("| `status`"))
    assert set(re.findall(r"`(\w+)`", row)) - {"status"} == STATUSES


@pytest.mark.parametrize("already", [False, True])
def test_a_run(already: bool) -> None:
    printed = as_data(RunResult(already=already), Path("out.jsonl"), Path("out.errors.jsonl"))
    assert documented("A run") == [*printed]
    assert printed["already_finished"] is already
    assert printed["requests"] == (None if already else 0)
