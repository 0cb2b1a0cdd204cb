"""`overnight submit` against a service, as a person and as a script would."""

import json
import re
from pathlib import Path

import pytest

from support.batch_server import SLOW, faulty_file, good_file, partly_failing_file
from support.command_line import Ended, overnight
from support.polling import wait_for
from support.service import ServiceProcess
from support.stalled_server import stalled_server
from support.terminal import ended, interrupted, started

BATCH_ID = re.compile(r"batch_[0-9a-f]{24}")


def submit(server: ServiceProcess, *arguments: object) -> Ended:
    return overnight("submit", *arguments, "--base-url", server.base_url)


def ids_of(path: Path, key: str = "custom_id") -> list[str]:
    return [json.loads(line)[key] for line in path.read_text().splitlines()]


def test_the_id_is_all_of_standard_output(server: ServiceProcess) -> None:
    done = submit(server, good_file(Path("in.jsonl")))
    assert done.code == 0
    assert BATCH_ID.fullmatch(done.out.strip())
    job_id = done.out.strip()
    assert f"overnight jobs watch {job_id} --base-url {server.base_url}" in done.err
    assert f"overnight jobs download {job_id} --base-url {server.base_url}" in done.err


def test_results_in_input_order(server: ServiceProcess) -> None:
    done = submit(server, good_file(Path("in.jsonl"), 20), "-o", "out.jsonl")
    assert done.code == 0, done.err
    assert "completed: 20 requests, 20 succeeded, 0 failed" in done.out
    assert ids_of(Path("out.jsonl")) == [f"r{number}" for number in range(20)]
    assert sorted(path.name for path in Path().iterdir()) == ["in.jsonl", "out.jsonl"]


def test_some_failed(server: ServiceProcess) -> None:
    done = submit(server, partly_failing_file(Path("in.jsonl")), "--output", "out.jsonl")
    assert done.code == 4, done.err
    assert ids_of(Path("out.jsonl")) == ["r0", "r1"]
    assert ids_of(Path("out.errors.jsonl")) == ["bad"]
    assert "errors   out.errors.jsonl" in done.out


def test_for_programs(server: ServiceProcess) -> None:
    done = submit(
        server,
        partly_failing_file(Path("in.jsonl")),
        *("--output", "out.jsonl", "--errors", "bad.jsonl", "--json"),
    )
    job = json.loads(done.out)
    assert done.code == 4
    assert job["status"] == "completed"
    assert (job["total"], job["succeeded"], job["failed"]) == (3, 2, 1)
    assert (job["output"], job["errors"]) == ("out.jsonl", "bad.jsonl")


def test_lines_may_be_without_method_and_url_as_for_run(server: ServiceProcess) -> None:
    messages = [{"role": "user", "content": "Hello"}]
    line = {"custom_id": "one", "body": {"model": "sim", "messages": messages}}
    Path("in.jsonl").write_text(json.dumps(line))
    done = submit(server, "in.jsonl", "--output", "out.jsonl")
    assert done.code == 0, done.out
    assert ids_of(Path("out.jsonl")) == ["one"]


def test_metadata_is_kept(server: ServiceProcess) -> None:
    path = good_file(Path("in.jsonl"))
    options = ("--metadata", "team=search", "--metadata", "run=a=b")
    job = json.loads(submit(server, path, *options, "--json").out)
    assert job["metadata"] == {"team": "search", "run": "a=b"}


def test_a_window_the_server_does_not_have(server: ServiceProcess) -> None:
    done = submit(server, good_file(Path("in.jsonl")), "--window", "2 weeks")
    assert done.code == 2
    assert "2 weeks" in done.err


def test_a_refused_input_is_shown_as_validate_would(server: ServiceProcess) -> None:
    path = faulty_file(Path("in.jsonl"))
    done = submit(server, path, "--output", "out.jsonl")
    assert done.code == 3
    assert "failed: the input was refused, nothing was sent" in done.out
    assert not Path("out.jsonl").exists()
    checked = overnight("validate", path)
    assert checked.code == 3
    assert checked.out.splitlines()[0] in done.out


def test_an_existing_output_is_refused_before_anything_is_sent(server: ServiceProcess) -> None:
    path = good_file(Path("never-sent.jsonl"))
    Path("out.jsonl").write_text("precious")
    done = submit(server, path, "--output", "out.jsonl")
    assert done.code == 2
    assert done.err.startswith("error: out.jsonl exists already.\nhint: ")
    assert Path("out.jsonl").read_text() == "precious"
    assert path.name not in overnight("files", "list", "--base-url", server.base_url).out
    assert submit(server, path, "--output", "out.jsonl", "--overwrite").code == 0
    assert path.name in overnight("files", "list", "--base-url", server.base_url).out
    assert len(ids_of(Path("out.jsonl"))) == 3


def test_errors_of_an_earlier_job_do_not_stay(server: ServiceProcess) -> None:
    submit(server, partly_failing_file(Path("bad.jsonl")), "--output", "out.jsonl")
    assert Path("out.errors.jsonl").exists()
    submit(server, good_file(Path("in.jsonl")), "--output", "out.jsonl", "--overwrite")
    assert not Path("out.errors.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.jsonl"], "missing.jsonl can not be read"),
        (["in.jsonl", "--output", "no/out.jsonl"], "There is no folder no for out.jsonl"),
        (["in.jsonl", "--output", "x", "--errors", "x"], "two different files"),
        (["in.jsonl", "--errors", "x"], "--errors goes with --output"),
        (["in.jsonl", "--metadata", "team"], "--metadata takes KEY=VALUE"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str) -> None:
    """Nothing listens at the address: it is never asked."""
    good_file(Path("in.jsonl"))
    done = overnight("submit", *arguments, "--base-url", "http://127.0.0.1:1/v1")
    assert done.code == 2
    assert words in done.err


def test_no_server() -> None:
    path = good_file(Path("in.jsonl"))
    done = overnight("submit", path, "--base-url", "http://127.0.0.1:1/v1")
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert "127.0.0.1:1" in done.err
    assert "overnight serve" in done.err


def test_an_endpoint_that_is_none_is_refused_by_the_server(server: ServiceProcess) -> None:
    done = submit(server, good_file(Path("in.jsonl")), "--endpoint", "/v1/nothing")
    assert done.code == 2
    assert "/v1/nothing" in done.err


def test_ctrl_c_while_uploading_creates_nothing() -> None:
    path = good_file(Path("in.jsonl"), 1_000)
    with stalled_server() as stalled:
        process = started("submit", path, "--base-url", stalled.base_url)
        stalled.wait_for_request()
        done = interrupted(process)
    assert done.code == 130
    assert done.err == "error: interrupted while uploading; nothing was created\n"
    assert done.out == ""


def test_ctrl_c_while_watching_leaves_the_job_running(server: ServiceProcess) -> None:
    path = good_file(Path("in.jsonl"), model=SLOW)
    process = started("submit", path, "--output", "out.jsonl", "--base-url", server.base_url)
    assert process.stdout is not None
    job_id = process.stdout.readline().strip()
    wait_for(lambda: status_of(server, job_id) == "in_progress", what="the start")
    done = interrupted(process)
    again = f"overnight jobs watch {job_id} --output out.jsonl --base-url {server.base_url}"
    assert done.code == 130
    assert done.err.splitlines()[-1] == f"hint: watch again with: {again}"
    assert status_of(server, job_id) == "in_progress"
    # The command that was printed goes on.
    process = started(*again.split()[1:])
    overnight("jobs", "cancel", job_id, "--base-url", server.base_url)
    assert ended(process).code == 5
    assert len(ids_of(Path("out.errors.jsonl"))) == 3
    assert not Path("out.jsonl").exists()


def status_of(server: ServiceProcess, job_id: str) -> str:
    shown = overnight("jobs", "show", job_id, "--json", "--base-url", server.base_url)
    return str(json.loads(shown.out)["status"])


def test_a_refused_job_leaves_no_file_behind(server: ServiceProcess) -> None:
    path = good_file(Path("refused-and-taken-away.jsonl"))
    done = submit(server, path, "--window", "3x")
    assert done.code == 2
    assert "'3x' is not supported" in done.err
    listed = overnight("files", "list", "--limit", "100", "--base-url", server.base_url)
    assert path.name not in listed.out
