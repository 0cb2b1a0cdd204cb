"""Uploads and downloads are spoken of when they take long."""

import pytest

from overnight.cli.remote.transfer import QUIET_SECONDS, Transfer


def transfer(seconds: list[float], total: int | None) -> None:
    """A thousand bytes each time; `seconds` are those the clock tells, the last one for good."""
    times = iter(seconds)
    with Transfer("uploading x", total, clock=lambda: next(times, seconds[-1])) as moving:
        for step in range(1, 11):
            moving.moved(step * 1_000)


def test_a_quick_one_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    transfer([0.0, QUIET_SECONDS / 2], 10_000)
    assert capsys.readouterr().err == ""


def test_a_slow_one_is_told_in_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    transfer([0.0, QUIET_SECONDS], 10_000)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("uploading x: 9.8 KiB/9.8 KiB done")


def test_without_a_total_there_is_nothing_to_tell(capsys: pytest.CaptureFixture[str]) -> None:
    transfer([0.0, 100.0], None)
    assert capsys.readouterr().err == ""
