"""Pages that follow from the code are as the code is now."""

import re
from pathlib import Path

import pytest

from overnight.domain.job import TERMINAL, TRANSITIONS
from tools.reference import PAGES, PARTS, contents

ARROW = re.compile(r"^ +(\S+) --> (\S+?)(?:: (.*))?$", re.MULTILINE)


@pytest.mark.parametrize("page", sorted({*PAGES, *PARTS}), ids=lambda page: page.name)
def test_a_page_is_what_the_code_says(page: Path) -> None:
    wanted = contents()[page]
    assert page.read_text() == wanted, "stale: run `python -m tools.reference`"


def test_the_picture_of_states_is_the_table() -> None:
    """Read back from the page, so that what draws it can not be wrong in the same way."""
    (page,) = (page for page in PARTS if page.name == "job-lifecycle.md")
    drawn = {
        (source, event, target)
        for source, target, events in ARROW.findall(page.read_text())
        for event in events.split(" / ")
    }
    inner = {
        (source.value, event.value, target.value) for (source, event), target in TRANSITIONS.items()
    }
    begin = {("[*]", "created", "validating")}
    end = {(status.value, "", "[*]") for status in TERMINAL}
    assert drawn == inner | begin | end
