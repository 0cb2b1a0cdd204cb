"""Which windows there are, and how long each is."""

import pytest

from overnight.domain.completion_window import DEFAULT_WINDOW, window_seconds


@pytest.mark.parametrize(
    ("window", "seconds"),
    [
        (DEFAULT_WINDOW, 86_400),
        ("1h", 3_600),
        ("60m", 3_600),
        ("90m", 5_400),
        ("36h", 129_600),
        ("336h", 1_209_600),
        ("14d", 1_209_600),
    ],
)
def test_a_window_has_a_length(window: str, seconds: int) -> None:
    assert window_seconds(window) == seconds


@pytest.mark.parametrize(
    "window",
    ["", "h", "24", "24H", " 24h", "24h\n", "1.5h", "-24h", "+24h", "59m", "0h", "15d", "337h"],
)
def test_what_is_no_window(window: str) -> None:
    assert window_seconds(window) is None


@pytest.mark.parametrize("window", ["24hours", "1d12h", "٢٤h", "9" * 5_000 + "h", "86400s"])
def test_anything_else_is_none(window: str) -> None:
    assert window_seconds(window) is None
