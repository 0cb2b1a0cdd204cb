"""The error log: what gets into it, and that it harms nobody."""

import io
import logging
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import pytest

from overnight.error_log import (
    FILE_BYTES_MAX,
    ErrorLog,
    error_log_path,
    newest_errors,
)


def tell(log: ErrorLog, level: str, event: str, **more: Any) -> None:
    given = {"level": level, "event": event, **more}
    assert log(None, level, given) is given


def events(folder: Path, limit: int = 100) -> list[str]:
    return [record["event"] for record in newest_errors(folder, limit)]


def test_only_what_is_bad_is_kept_newest_first(tmp_path: Path) -> None:
    log = ErrorLog(tmp_path)
    for number, level in enumerate(("info", "warning", "debug", "error", "critical")):
        tell(log, level, f"{level} {number}")
    assert events(tmp_path) == ["critical 4", "error 3", "warning 1"]
    assert events(tmp_path, 2) == ["critical 4", "error 3"]


def test_without_a_log_there_are_no_errors(tmp_path: Path) -> None:
    assert newest_errors(tmp_path / "nowhere", 5) == []


def test_a_traceback_is_told(tmp_path: Path) -> None:
    try:
        raise ValueError("x" * 20_000 + " the end")
    except ValueError:
        tell(ErrorLog(tmp_path), "critical", "died", exc_info=sys.exc_info())
    (record,) = newest_errors(tmp_path, 5)
    assert record["exception"].rstrip().endswith("the end")
    assert len(record["exception"]) < 10_000
    assert "exc_info" not in record


def test_it_stays_small_and_keeps_the_newest(tmp_path: Path) -> None:
    log = ErrorLog(tmp_path)
    for number in range(700):
        tell(log, "error", f"{number}", detail="x" * 5_000)
    sizes = [path.stat().st_size for path in error_log_path(tmp_path).parent.iterdir()]
    assert len(sizes) == 2
    assert sum(sizes) < 2 * FILE_BYTES_MAX + 20_000
    assert events(tmp_path) == [str(number) for number in range(699, 599, -1)]


def _tell_many(folder: Path, name: str) -> None:
    log = ErrorLog(folder)
    for number in range(300):
        tell(log, "error", f"{name}.{number}", detail="x" * 1_000)


def test_several_processes_lose_nothing_of_each_other(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_tell_many, args=(tmp_path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    told = events(tmp_path, 10_000)
    assert len(told) == len(set(told)) == 900


def test_where_nothing_can_be_written_nothing_breaks(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("in the way")
    tell(ErrorLog(tmp_path), "error", "lost")
    tell(ErrorLog(tmp_path / "missing"), "error", "lost")


def test_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    log = ErrorLog(tmp_path)
    tell(log, "error", "before")
    with error_log_path(tmp_path).open("ab") as file:
        file.write(b'{"event": "to\n[1]\n')
    tell(log, "error", "after")
    assert events(tmp_path) == ["after", "before"]


def test_it_is_for_the_owner_alone(tmp_path: Path) -> None:
    tell(ErrorLog(tmp_path), "error", "secret business")
    path = error_log_path(tmp_path)
    assert (path.stat().st_mode | path.parent.stat().st_mode) & 0o077 == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is full")
def test_a_full_disk_behind_standard_error_ends_nothing() -> None:
    from overnight.node import UnhurtLogger

    with io.FileIO("/dev/full", "w") as full:
        said = io.TextIOWrapper(full, write_through=True)
        for level in ("debug", "info", "warning", "error", "critical"):
            getattr(UnhurtLogger(said), level)("the disk is full")
        with pytest.raises(OSError, match="No space"):
            said.write("so it is")
        said.detach()


def test_libraries_are_heard(capsys: pytest.CaptureFixture[str]) -> None:
    from overnight.node import ForwardToStructlog

    logger = logging.getLogger("tests.library")
    logger.addHandler(ForwardToStructlog(logging.WARNING))
    logger.info("chatter")
    logger.error("disk on fire in %s", "rack 4")
    said = capsys.readouterr().out
    assert "disk on fire in rack 4" in said
    assert "chatter" not in said
