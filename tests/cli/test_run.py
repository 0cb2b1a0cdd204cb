"""`overnight run`: where results may go, and ending in the middle."""

import re
import signal
from pathlib import Path

import pytest

from support.batch_server import good_file
from support.command_line import overnight
from support.polling import wait_for
from support.sim import running_sim
from support.terminal import ended, started

NOWHERE = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (".", ". is a folder; name a file in it."),
        ("folder", "folder is a folder; name a file in it."),
        ("none/out.jsonl", "There is no folder none for out.jsonl."),
        ("-", "Results can not go to standard output; name a file."),
        ("/dev/null", "/dev/null is a device or a pipe; name a file."),
    ],
)
def test_no_place_for_results(output: str, words: str) -> None:
    Path("folder").mkdir()
    done = overnight("run", good_file(Path("in.jsonl")), "-o", output, "--upstream", NOWHERE)
    assert (done.code, done.err) == (2, f"error: {words}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended_in_the_middle_it_says_how_to_go_on(number: signal.Signals) -> None:
    with running_sim("--latency-ms", "300") as engine:
        words = ("run", good_file(Path("in.jsonl"), 8), "-o", "out.jsonl")
        words += ("--upstream", engine.base_url, "--max-in-flight", "1")
        process = started(*words)
        wait_for(lambda: engine.stats()["requests"] > 1, seconds=30)
        process.send_signal(number)
        done = ended(process)
        assert done.code == 130
        assert done.err.endswith(
            "error: interrupted; what is done is kept\n"
            f"hint: go on with: overnight {' '.join(map(str, words))}\n"
        )
        assert not Path("out.jsonl").exists()
        *_, shown = re.findall(r"sending: (\d)/8 done", done.err)
        again = overnight(*words)
    assert again.code == 0, again.err
    assert f"{shown} were done before" in again.out
    assert sorted(path.name for path in Path().iterdir()) == ["in.jsonl", "out.jsonl"]
