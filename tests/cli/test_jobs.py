"""`overnight jobs …` against a service."""

import json
import re
import socket
from pathlib import Path

import pytest

from overnight.cli.remote.jobs import Status
from overnight.client.views import STATUSES
from support.batch_server import (
    SLOW,
    faulty_file,
    good_file,
    partly_failing_file,
)
from support.command_line import Ended, overnight
from support.polling import wait_for
from support.service import ServiceProcess, running_service
from support.terminal import ended, interrupted, on_terminal, started, without_controls

NO_ENGINE = "http://127.0.0.1:1/v1"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def jobs(server: ServiceProcess, *arguments: object) -> Ended:
    return overnight("jobs", *arguments, "--base-url", server.base_url)


def submitted(server: ServiceProcess, path: Path) -> str:
    done = overnight("submit", path, "--base-url", server.base_url)
    assert done.code == 0, done.err
    return done.out.strip()


def job(server: ServiceProcess, job_id: str) -> dict[str, object]:
    shown: dict[str, object] = json.loads(jobs(server, "show", job_id, "--json").out)
    return shown


def completed(server: ServiceProcess, path: Path) -> str:
    job_id = submitted(server, path)
    assert jobs(server, "watch", job_id).code in {0, 4}
    return job_id


def running(server: ServiceProcess, name: str = "slow.jsonl") -> str:
    """A job that goes on until it is cancelled."""
    job_id = submitted(server, good_file(Path(name), model=SLOW))
    wait_for(lambda: job(server, job_id)["status"] == "in_progress", what="the start")
    return job_id


def test_list_for_programs(server: ServiceProcess) -> None:
    newest = [submitted(server, good_file(Path("in.jsonl"))) for _ in range(3)][::-1]
    listed = json.loads(jobs(server, "list", "--limit", 3, "--json").out)
    assert [one["id"] for one in listed["jobs"]] == newest


def test_list_in_fields(server: ServiceProcess) -> None:
    job_id = completed(server, partly_failing_file(Path("in.jsonl")))
    header, row = jobs(server, "list", "--limit", 1).out.splitlines()
    assert header.split("\t") == ["id", "status", "progress", "failed", "age", "model"]
    assert row.split("\t")[:4] == [job_id, "completed", "3/3", "1"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row.split("\t")[4])


def test_list_on_a_terminal_fits_it(server: ServiceProcess) -> None:
    job_id = completed(server, good_file(Path("in.jsonl")))
    options = ("jobs", "list", "--limit", 5, "--base-url", server.base_url)
    shown = on_terminal(*options, columns=80)
    lines = without_controls(shown.out).splitlines()
    assert shown.code == 0
    assert max(map(len, lines)) <= 80
    assert lines[1].split()[:2] == [job_id, "completed"]
    assert "100% of 3" in lines[1]
    assert COLOUR.search(shown.out)
    assert not COLOUR.search(on_terminal(*options, NO_COLOR="1").out)


def test_list_by_status(server: ServiceProcess) -> None:
    job_id = running(server)
    for _ in range(3):
        submitted(server, good_file(Path("in.jsonl")))
    listed = json.loads(jobs(server, "list", "--status", "in_progress", "--json").out)
    assert job_id in [one["id"] for one in listed["jobs"]]
    assert {one["status"] for one in listed["jobs"]} == {"in_progress"}
    jobs(server, "cancel", job_id)


def test_an_unknown_status_names_those_there_are(server: ServiceProcess) -> None:
    refused = jobs(server, "list", "--status", "done")
    assert refused.code == 2
    assert "in_progress" in refused.err


def test_every_status_can_be_asked_for() -> None:
    assert {status.value for status in Status} == STATUSES


def test_show(server: ServiceProcess) -> None:
    job_id = completed(server, partly_failing_file(Path("in.jsonl")))
    lines = [line.split(maxsplit=1) for line in jobs(server, "show", job_id).out.splitlines()]
    assert lines[0] == [job_id, "completed"]
    assert ["endpoint", "/v1/chat/completions"] in lines
    assert ["progress", "100% of 3 requests, 2 succeeded, 1 failed"] in lines
    assert {"tokens", "created", "ended", "input", "output", "errors"} <= {one[0] for one in lines}


def test_show_the_newest(server: ServiceProcess) -> None:
    job_id = submitted(server, good_file(Path("in.jsonl")))
    shown = jobs(server, "show")
    assert shown.out.startswith(job_id)
    assert shown.err == f"the newest job: {job_id}\n"


def test_show_says_what_is_wrong_with_the_input(server: ServiceProcess) -> None:
    job_id = submitted(server, faulty_file(Path("twice.jsonl")))
    assert jobs(server, "watch", job_id).code == 3
    shown = jobs(server, "show", job_id)
    assert shown.code == 0
    assert shown.out.startswith(f"{job_id}  failed\n")
    assert "twice.jsonl:2: duplicate_custom_id" in shown.out


def test_unknown_id(server: ServiceProcess) -> None:
    for verb in ("show", "watch", "cancel", "download"):
        refused = jobs(server, verb, "batch_000000000000000000000000")
        assert refused.code == 2, verb
        assert "batch_000000000000000000000000" in refused.err
        assert refused.out == ""


def test_cancel_and_what_was_finished(server: ServiceProcess) -> None:
    job_id = running(server)
    cancelled = jobs(server, "cancel", job_id)
    assert cancelled.code == 0
    assert cancelled.out == f"{job_id}  cancelling\n"
    assert jobs(server, "watch", job_id).code == 5
    fetched = jobs(server, "download", job_id)
    assert fetched.code == 5
    assert "results  none, as no request succeeded" in fetched.out
    lines = Path("slow.results.errors.jsonl").read_text().splitlines()
    codes = [json.loads(line)["error"]["code"] for line in lines]
    assert codes == ["batch_cancelled"] * 3


def test_download_of_a_running_job_says_how_to_wait(server: ServiceProcess) -> None:
    job_id = running(server)
    refused = jobs(server, "download", job_id)
    assert refused.code == 5
    assert f"{job_id} has no results yet: it is in_progress, 0% of 3 done" in refused.err
    assert f"overnight jobs watch {job_id} --output" in refused.err
    assert not list(Path().glob("*results*"))
    jobs(server, "cancel", job_id)


def test_download_is_named_after_the_input(server: ServiceProcess) -> None:
    job_id = completed(server, partly_failing_file(Path("prompts.jsonl")))
    fetched = jobs(server, "download", job_id)
    assert fetched.code == 4, fetched.err
    assert len(Path("prompts.results.jsonl").read_text().splitlines()) == 2
    assert len(Path("prompts.results.errors.jsonl").read_text().splitlines()) == 1
    again = jobs(server, "download", job_id)
    assert again.code == 2
    assert "exists already" in again.err


def test_download_for_programs(server: ServiceProcess) -> None:
    job_id = completed(server, good_file(Path("in.jsonl")))
    fetched = json.loads(jobs(server, "download", job_id, "-o", "out.jsonl", "--json").out)
    assert fetched["id"] == job_id
    assert (fetched["output"], fetched["errors"]) == ("out.jsonl", None)


def test_watch_for_programs(server: ServiceProcess) -> None:
    job_id = submitted(server, good_file(Path("in.jsonl")))
    watched = jobs(server, "watch", job_id, "--json")
    assert watched.code == 0
    assert json.loads(watched.out)["status"] == "completed"


def test_ctrl_c_leaves_the_job_running(server: ServiceProcess) -> None:
    job_id = running(server)
    process = started("jobs", "watch", job_id, OVERNIGHT_BASE_URL=server.base_url)
    assert process.stderr is not None
    assert process.stderr.readline()  # Of the progress line.
    done = interrupted(process)
    assert done.code == 130
    # The environment names the server again: nothing to repeat.
    assert done.err.endswith(f"hint: watch again with: overnight jobs watch {job_id}\n")
    assert job(server, job_id)["status"] == "in_progress"
    jobs(server, "cancel", job_id)


def test_a_key_is_asked_for_and_never_printed(tmp_path: Path) -> None:
    with running_service(tmp_path / "data", NO_ENGINE, "--api-key", "s3cret-key") as server:
        refused = jobs(server, "list")
        assert refused.code == 2
        assert "OVERNIGHT_API_KEY" in refused.err
        path = good_file(Path("in.jsonl"))
        done = overnight(
            *("submit", path, "--base-url", server.base_url, "--api-key", "s3cret-key"),
        )
        assert done.code == 0
        assert "s3cret" not in done.out + done.err


def test_a_restart_of_the_server_is_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with running_service(tmp_path / "data", NO_ENGINE, "--port", str(port)) as server:
        job_id = running(server)
        process = started("jobs", "watch", job_id, "--base-url", server.base_url)
        assert process.stderr is not None
        assert process.stderr.readline()
        server.kill_everything()
        wait_for(lambda: "not answer" in process.stderr.readline(), what="the note")
        server.start()
        jobs(server, "cancel", job_id)
        assert ended(process).code == 5


@pytest.mark.parametrize("dialect", ["openai", "together"])
def test_both_dialects(server: ServiceProcess, dialect: str) -> None:
    options = ("--base-url", server.base_url, "--dialect", dialect)
    path = good_file(Path("in.jsonl"), 5)
    done = overnight("submit", path, "-o", "out.jsonl", *options)
    assert done.code == 0, done.err
    assert len(Path("out.jsonl").read_text().splitlines()) == 5
    assert overnight("jobs", "list", *options).code == 0
