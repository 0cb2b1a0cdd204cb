"""What the pages point to is there: functions by their names, other pages by their links."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(#[^)\s]*)?\)")
LAYERS = "domain|seams|store|dispatch|service|api|sim|settings|options|supervisor|node|cli"
NAME = re.compile(rf"(?:{LAYERS})(?:\.\w+)+")
TEST = re.compile(r"(tests/[\w./-]+\.py)::(\w+)")
PLACE = re.compile(r"(?:src|tests|docs|bench|tools)/[\w./-]+")


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub and others make them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {f"#{heading.replace(' ', '-')}" for heading in plain}


def resolve(name: str) -> object:
    """`store.jobs.advance` or `dispatch.feed.Round.next`; raises when there is no such thing."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        module = ".".join(["overnight", *parts[:length]])
        try:
            found: object = importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            found = getattr(found, attribute)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_links_and_places_exist(page: Path) -> None:
    text = prose(page)
    code = CODE.findall(text)
    for name in filter(NAME.fullmatch, code):
        try:
            resolve(name)
        except (ModuleNotFoundError, AttributeError) as error:
            pytest.fail(f"`{name}` is not in the code any more: {error}")
    for place in filter(PLACE.fullmatch, code):
        assert (ROOT / place).exists(), f"there is no {place}"
    for path, name in TEST.findall(text):
        assert f"\ndef {name}(" in (ROOT / path).read_text(), f"there is no test {path}::{name}"
    for path, anchor in LINK.findall(text):
        target = page.parent / path if path else page
        assert target.exists(), f"link to {path}"
        assert not anchor or anchor in anchors(target), f"link to {path}{anchor}"
