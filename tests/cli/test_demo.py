"""The demo as a person runs it: a process of its own, with everything it starts."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from uuid import uuid4

import pytest

from overnight.cli.demo.novel import paragraphs
from overnight.cli.demo.story import MAX_IN_FLIGHT, Tally
from support.command_line import overnight
from support.polling import wait_for

LAST_LINE = re.compile(
    r"600 requests, 600 results, 0 missing, 0 twice; "
    r"worker killed once, (\d+) requests repeated"
)
ANSWERED_BUT_NOT_WRITTEN_MAX = 50
"""Replies of the last 20 ms before a kill may be lost with it; this is far more than that."""

RIGHT = Tally(requests=600, results=600, missing=0, twice=0, kills=1, repeated=41)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A folder for temporary files, and a mark on every process that comes from this test."""

    folder: Path
    mark: str

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "overnight", "demo"],
            env={**os.environ, "TMPDIR": str(self.folder), "DEMO_TEST_MARK": self.mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # No terminal.
            # Where the tests run in the background, Ctrl-C is ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )

    def processes(self) -> list[int]:
        return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if self._marked(entry)]

    def _marked(self, process: Path) -> bool:
        try:
            return self.mark.encode() in (process / "environ").read_bytes()
        except OSError:  # It has ended, or is not ours.
            return False

    def check_clean(self) -> None:
        assert self.processes() == []
        assert list(self.folder.iterdir()) == []


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return Surroundings(folder, uuid4().hex)


def test_the_demo_tells_its_story_and_leaves_nothing(surroundings: Surroundings) -> None:
    with surroundings.start() as demo:
        out, err = demo.communicate(timeout=90)
    assert (demo.returncode, err) == (0, "")
    end = LAST_LINE.fullmatch(out.splitlines()[-1])
    assert end is not None, out
    assert 1 <= int(end[1]) <= MAX_IN_FLIGHT + ANSWERED_BUT_NOT_WRITTEN_MAX
    assert "kill -9 of worker" in out
    assert out.count("→") == 3
    surroundings.check_clean()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_an_interrupted_demo_leaves_nothing(
    surroundings: Surroundings, number: signal.Signals, code: int
) -> None:
    with surroundings.start() as demo:
        assert demo.stdout is not None
        while not demo.stdout.readline().startswith("Batch"):
            assert demo.poll() is None
        # The supervisor, the API, the clerk, a worker, the engine and the demo itself.
        wait_for(lambda: len(surroundings.processes()) >= 6, what="the start of all processes")
        demo.send_signal(number)
        out, err = demo.communicate(timeout=30)
    assert demo.returncode == code, err
    assert "results" not in out
    assert "Traceback" not in err
    surroundings.check_clean()


@pytest.mark.parametrize("change", [{"results": 599}, {"missing": 1}, {"twice": 1}, {"kills": 0}])
def test_a_wrong_count_is_not_right(change: dict[str, int]) -> None:
    assert RIGHT.right
    assert not replace(RIGHT, **change).right


def test_the_last_line_reads_as_promised() -> None:
    assert LAST_LINE.fullmatch(str(RIGHT))


def test_the_requests_are_distinct_and_valid(tmp_path: Path) -> None:
    lines = [paragraph.request("sim") for paragraph in paragraphs()]
    bodies = {json.dumps(json.loads(line)["body"]) for line in lines}
    assert len(bodies) == len(lines) == 600
    path = tmp_path / "paragraphs.jsonl"
    path.write_bytes(b"".join(lines))
    assert overnight("validate", path, "--endpoint", "/v1/chat/completions").code == 0


def test_the_text_is_small_and_its_origin_stands_beside_it() -> None:
    folder = files("overnight.cli.demo")
    assert len(folder.joinpath("pride_and_prejudice.txt").read_bytes()) <= 200_000
    origin = folder.joinpath("ORIGIN.md").read_text("utf-8")
    for fact in ("Jane Austen", "1813", "public domain"):
        assert fact in origin
