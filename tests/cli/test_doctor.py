"""`overnight doctor`: what it finds, what it says to do, and what it never shows."""

import asyncio
import fcntl
import json
import os
import re
import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from overnight.cli.doctor.finding import Scrubber, fail
from overnight.error_log import ErrorLog
from overnight.node import DATABASE_NAME
from support.batches import input_file, numbered
from support.command_line import Ended, overnight
from support.data_folder import flip_a_byte, plan, segments, settled_folder
from support.polling import wait_for
from support.scripted import CLOSE, HANG, Received, ScriptedUpstream, Steps, reply, reply_json
from support.service import running_service
from support.sim import SimProcess, running_sim
from support.terminal import on_terminal, without_controls

MODELS = {"object": "list", "data": [{"id": "m"}]}
ANSWER = {"choices": [{"message": {"content": "o"}}], "usage": {"completion_tokens": 1}}


class Seen:
    """What `doctor --json` reports."""

    def __init__(self, ended: Ended) -> None:
        self.code = ended.code
        self.report: dict[str, Any] = json.loads(ended.out)
        self._checks: list[dict[str, Any]] = self.report["checks"]

    def __getitem__(self, place: str) -> dict[str, Any]:
        """The one check of a group and name, such as `Upstreams/request`."""
        (found,) = self.all(place)
        return found

    def all(self, place: str) -> list[dict[str, Any]]:
        return [check for check in self._checks if f"{check['group']}/{check['name']}" == place]

    def statuses(self, group: str) -> list[str]:
        return [check["status"] for check in self._checks if check["group"] == group]

    @property
    def failed(self) -> list[str]:
        return [f"{c['group']}/{c['name']}" for c in self._checks if c["status"] == "fail"]


def examined(*arguments: object) -> Seen:
    return Seen(overnight("doctor", "--json", *arguments))


@pytest.fixture(scope="module")
def engine() -> Iterator[SimProcess]:
    with running_sim() as running:
        yield running


@pytest.fixture(scope="module")
def template(engine: SimProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return settled_folder(tmp_path_factory.mktemp("template"), engine.base_url)


@pytest.fixture
def folder(template: Path) -> Path:
    """As `overnight serve` would find it here."""
    return Path(shutil.copytree(template, "overnight-data"))


# The data folder


def test_before_the_first_start() -> None:
    seen = examined()
    assert seen.code == 0
    assert seen["Data folder/place"]["status"] == "ok"
    assert "is not there yet" in seen["Data folder/place"]["message"]
    assert seen["Upstreams/models"]["status"] == "warn"
    assert "overnight sim" in seen["Upstreams/models"]["advice"]
    assert os.listdir() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_can_not_be_made() -> None:
    Path("above").mkdir(mode=0o500)
    seen = examined("--data-dir", "above/data")
    assert (seen.code, seen.failed) == (1, ["Data folder/place"])
    assert "can not make it in" in seen["Data folder/place"]["message"]


@pytest.mark.usefixtures("folder")
def test_a_folder_that_is_at_rest(engine: SimProcess) -> None:
    seen = examined()
    assert (seen.code, seen.failed) == (0, [])
    assert seen["Data folder/service"]["message"] == "not running"
    assert seen["Database/schema"]["message"].endswith(", the newest")
    assert seen["Database/jobs"]["message"].startswith("1 finalizing")
    assert seen["Stored bytes/bytes"]["message"].startswith("1 plan, 3 segments, 1 file are")
    assert engine.base_url in seen["Upstreams/request"]["message"]
    assert seen.statuses("Newest errors") == ["ok", "ok", "ok"]


def test_the_shape_for_programs(folder: Path) -> None:
    flip_a_byte(plan(folder), 0)
    seen = examined("--no-request")
    assert set(seen.report) == {"version", "at", "healthy", "checks"}
    assert seen.report["healthy"] is False
    for check in seen.report["checks"]:
        assert set(check) == {"group", "name", "status", "message", "advice", "details"}
        assert check["status"] in {"ok", "warn", "fail"}
        assert check["advice"] or check["status"] != "fail"


@pytest.mark.parametrize(
    ("harm", "where"),
    [
        (lambda folder: flip_a_byte(plan(folder), 40), "the plan of shard 0 is damaged"),
        (lambda folder: flip_a_byte(segments(folder)[2], -3), "the segment of shard 2 has "),
        (lambda folder: segments(folder)[1].unlink(), "the segment of shard 1 is missing"),
        (lambda folder: (folder / "files" / "file-0001").unlink(), "file-0001: it is missing"),
    ],
)
def test_damage(folder: Path, harm: Callable[[Path], None], where: str) -> None:
    harm(folder)
    seen = examined("--no-request")
    assert (seen.code, seen.failed) == (1, ["Stored bytes/bytes"])
    found = seen["Stored bytes/bytes"]
    assert found["message"].startswith("damage in 1 place;")
    (detail,) = found["details"]
    assert where in detail
    assert "Keep a copy" in found["advice"]


def test_quick_reads_no_segments(folder: Path) -> None:
    flip_a_byte(segments(folder)[0], -1)
    seen = examined("--no-request", "--quick")
    assert seen.code == 0
    assert "--quick: not read" in seen["Stored bytes/bytes"]["message"]
    assert seen.all("Database/pages") == []


def test_long_checks_tell_how_far_they_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from overnight.cli.doctor import database

    assert segments(folder)
    assert overnight("doctor", "--no-request").err == ""
    monkeypatch.setattr(database, "_BAR_FROM_BYTES", 1)
    assert re.match(r"checking: \S+ KiB/\S+ KiB done", overnight("doctor", "--no-request").err)


def test_orphans_are_a_warning(folder: Path) -> None:
    (folder / "files" / "file-stray").write_text("?")
    seen = examined("--no-request")
    assert seen.code == 0
    assert seen["Stored bytes/orphans"]["details"] == ["overnight-data/files/file-stray"]


def change(folder: Path, sql: str) -> None:
    with closing(sqlite3.connect(folder / DATABASE_NAME)) as database, database:
        database.execute(sql)


def test_a_database_that_is_none(folder: Path) -> None:
    (folder / DATABASE_NAME).write_bytes(b"not a database at all" * 500)
    seen = examined("--no-request")
    assert seen.code == 1
    assert "damaged" in seen["Database/file"]["message"]


def test_a_database_with_broken_pages(folder: Path) -> None:
    path = folder / DATABASE_NAME
    change(folder, "CREATE TABLE filler AS SELECT randomblob(200000) AS x")
    os.truncate(path, path.stat().st_size // 4096 // 2 * 4096)
    seen = examined("--no-request")
    assert seen.code == 1
    assert any(place.startswith("Database/") for place in seen.failed)


def test_a_newer_schema(folder: Path) -> None:
    change(folder, "UPDATE alembic_version SET version_num = '9999'")
    seen = examined("--no-request")
    assert seen.failed == ["Database/schema"]
    assert seen["Database/schema"]["advice"].startswith("Upgrade Overnight")


def test_an_older_schema(folder: Path) -> None:
    change(folder, "UPDATE alembic_version SET version_num = '0001'")
    change(folder, "ALTER TABLE lanes DROP COLUMN models")
    seen = examined("--no-request")
    assert seen.code == 0
    found = seen["Database/schema"]
    assert found["status"] == "warn"
    assert "it upgrades it" in found["advice"]
    assert seen.statuses("Stored bytes") == []


def test_jobs_past_their_deadline(folder: Path) -> None:
    change(folder, "UPDATE jobs SET deadline = 1000")
    seen = examined("--no-request")
    assert seen["Database/jobs"]["status"] == "warn"
    assert "1 past their deadline: batch_0001" in seen["Database/jobs"]["message"]
    assert "overnight serve" in seen["Database/jobs"]["advice"]


def test_a_folder_of_something_else() -> None:
    Path("overnight-data").mkdir(mode=0o700)
    assert "nothing here yet" in examined()["Data folder/place"]["message"]
    Path("overnight-data/photo.jpg").touch()
    assert examined()["Data folder/place"]["status"] == "warn"


def test_a_file_in_the_way() -> None:
    Path("overnight-data").touch()
    seen = examined()
    assert seen.failed == ["Data folder/place"]


def test_a_folder_open_to_others(folder: Path) -> None:
    folder.chmod(0o755)
    found = examined("--no-request")["Data folder/place"]
    assert (found["status"], found["advice"]) == ("warn", "chmod 700 overnight-data")


def test_it_changes_nothing(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    examined("--no-request")
    assert {path: path.read_bytes() for path in before} == before


# Beside a running service


def test_beside_a_running_service(engine: SimProcess) -> None:
    data_dir = Path("overnight-data")
    with running_service(data_dir, engine.base_url) as service:
        job = service.client.submit(input_file(numbered(1_200)))
        service.client.results(job)
        seen = examined()
        assert (seen.code, seen.failed) == (0, [])
        assert seen["Data folder/service"]["message"].endswith("; ready")
        assert f"supervisor {service.pid}" in seen["Data folder/service"]["message"]
        assert seen["Database/leases"]["message"] == "1 clerk, 1 worker alive, none run out"
        assert "1 completed" in seen["Database/jobs"]["message"]
        victim = service.pids("worker")
        service.kill("worker")
        wait_for(lambda: service.pids("worker") not in (victim, []), what="another worker")
    seen = examined("--no-request")
    assert seen["Data folder/service"]["message"] == "not running"
    # On a busy machine there may be other troubles.
    logged = seen["Newest errors/log"]["details"]
    (death,) = (line for line in logged if "was killed by SIGKILL" in line)
    assert "supervisor: worker (pid " in death


def is_free(data_dir: Path) -> bool:
    with (data_dir / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_after_everything_was_killed(engine: SimProcess) -> None:
    data_dir = Path("overnight-data")
    with running_service(data_dir, engine.base_url) as service:
        service.client.submit(input_file(numbered(5)))
        service.kill_everything()
    assert (data_dir / f"{DATABASE_NAME}-wal").stat().st_size > 0
    wait_for(lambda: is_free(data_dir), what="the kernel to end all that were killed")
    seen = examined("--no-request")
    assert (seen.code, seen.failed) == (0, [])
    assert seen["Data folder/service"]["message"] == "not running, and was killed at its end"
    assert "left behind" in seen["Database/leases"]["message"]
    assert "1 " in seen["Database/jobs"]["message"]


def test_a_lock_without_a_supervisor(folder: Path) -> None:
    import fcntl

    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = examined("--no-request")["Data folder/service"]
    assert found["status"] == "warn"
    assert "no supervisor is running" in found["message"]


# Upstreams


def examined_with(script: Callable[[Received], Steps], *arguments: object) -> Seen:
    async def main() -> Seen:
        async with ScriptedUpstream(script) as upstream:
            return await asyncio.to_thread(
                examined, "--upstream", upstream.base_url, "--timeout", "0.3", *arguments
            )

    return asyncio.run(main())


def answering(chat: Steps, models: Steps | None = None) -> Callable[[Received], Steps]:
    listing = reply_json(MODELS) if models is None else models
    return lambda request: listing if request.target.endswith("/models") else chat


def test_an_upstream_that_answers() -> None:
    asked: list[Received] = []

    def script(request: Received) -> Steps:
        asked.append(request)
        return answering(reply_json(ANSWER))(request)

    seen = examined_with(script)
    assert seen.code == 0
    assert "lists m (" in seen["Upstreams/models"]["message"]
    assert "answers for m in " in seen["Upstreams/request"]["message"]
    body = json.loads(asked[-1].body)
    assert (body["model"], body["max_tokens"]) == ("m", 1)
    asked.clear()
    assert examined_with(script, "--no-request").code == 0
    assert [request.method for request in asked] == ["GET"]


@pytest.mark.parametrize(
    ("models", "words", "advice"),
    [
        (reply(401), "refuses the key (401)", "--upstream-api-key"),
        (reply(500), "answers 500", "Is it running"),
        (reply(200, b"<html>"), "something else than a list of models", "OpenAI-compatible"),
        ([b"hello\r\n\r\n", CLOSE], "does not speak HTTP", "Is it running"),
        ([CLOSE], "closes the connection without an answer", "Is it running"),
        ([HANG], "no answer within 0.3 s", "Is it running"),
    ],
    ids=["401", "500", "page", "garbage", "closes", "hangs"],
)
def test_an_upstream_that_lists_no_models(models: Steps, words: str, advice: str) -> None:
    seen = examined_with(answering(reply(200), models))
    assert (seen.code, seen.failed) == (1, ["Upstreams/models"])
    assert words in seen["Upstreams/models"]["message"]
    assert advice in seen["Upstreams/models"]["advice"]


@pytest.mark.parametrize(
    ("chat", "status", "words"),
    [
        (reply(401, b'{"error": {"message": "bad key s3cret"}}'), "fail", "bad key ***"),
        (reply(500, b'{"error": "out of memory"}'), "fail", "500: out of memory"),
        (reply(200, b"<html>"), "fail", "a page of HTML"),
        (reply(404, b'{"error": {"message": "no model m"}}'), "fail", "no model m"),
        (reply(400, b'{"message": "embeddings only"}'), "warn", "embeddings only"),
        (reply(429), "warn", "answered 429"),
        ([HANG], "fail", "no answer within 0.3 s"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", CLOSE], "fail", "not a JSON object"),
    ],
    ids=["401", "500", "page", "model", "other endpoint", "busy", "hangs", "cut"],
)
def test_an_upstream_that_answers_no_request(chat: Steps, status: str, words: str) -> None:
    seen = examined_with(answering(chat), "--upstream-api-key", "s3cret")
    found = seen["Upstreams/request"]
    assert (found["status"], seen.code) == (status, int(status == "fail"))
    assert words in found["message"]
    assert found["advice"]


def test_an_upstream_that_is_not_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        seen = examined("--upstream", url)
    assert (seen.code, seen.failed) == (1, ["Upstreams/models"])
    assert seen["Upstreams/models"]["message"] == f"{url}: refuses connections"


def test_a_base_url_without_its_v1(engine: SimProcess) -> None:
    seen = examined("--upstream", engine.base_url.removesuffix("/v1"))
    assert seen.failed == ["Upstreams/models"]
    assert f"The base seems to be {engine.base_url}:" in seen["Upstreams/models"]["advice"]


def test_an_upstream_without_a_list_of_models() -> None:
    seen = examined_with(answering(reply_json(ANSWER), reply(404)))
    assert seen.code == 0
    assert "lists none (404)" in seen["Upstreams/models"]["message"]
    assert "no model is known" in seen["Upstreams/request"]["message"]


def test_a_model_that_is_configured_but_not_listed(engine: SimProcess) -> None:
    toml = f'[[upstreams]]\nurl = "{engine.base_url}"\nmodels = ["other"]\n'
    Path("overnight.toml").write_text(toml)
    found = examined("--no-request")["Upstreams/models"]
    assert found["status"] == "warn"
    assert "not among them: other" in found["message"]


# Limits, settings, errors


def test_too_few_open_files(engine: SimProcess) -> None:
    toml = f'[[upstreams]]\nurl = "{engine.base_url}"\nmax_in_flight = 65_000\n'
    Path("overnight.toml").write_text(toml)
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(5_000, before[1]), before[1]))
    try:
        seen = examined()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert seen.failed == ["Limits/open files"]
    assert "ulimit -n 65256" in seen["Limits/open files"]["advice"]


def test_strangers_among_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_TRAIN_NUMBER", "457")
    found = examined()["Program/settings"]
    assert found["status"] == "warn"
    assert "OVERNIGHT_TRAIN_NUMBER" in found["message"]


def log(folder: Path, event: str, at: str, **more: object) -> None:
    record = {"event": event, "level": "error", "timestamp": at, "role": "worker", "pid": 1}
    ErrorLog(folder)(None, "error", {**record, **more})


def test_the_newest_errors(folder: Path) -> None:
    log(folder, "long ago", "2001-01-01T00:00:00Z")
    assert examined("--no-request")["Newest errors/log"]["status"] == "ok"
    for number in range(9):
        log(folder, f"trouble {number}", f"9999-01-01T00:00:0{number}Z", reason="disk")
    seen = examined("--no-request")
    assert seen.code == 0
    found = seen["Newest errors/log"]
    assert (found["status"], len(found["details"])) == ("warn", 5)
    assert found["details"][0] == "9999-01-01T00:00:08Z worker: trouble 8, reason: disk"
    assert found["message"].startswith("9 troubles in the last 24 h")


def test_jobs_and_upstreams_in_trouble(folder: Path) -> None:
    change(folder, "UPDATE jobs SET status = 'failed', failure = '3 results could not be read'")
    change(
        folder,
        "INSERT INTO job_log (job_id, event, from_status, to_status, at, why) "
        "VALUES ('batch_0001', 'salvaged', 'finalizing', 'failed', 9e9, '')",
    )
    change(folder, "UPDATE lanes SET paused_reason = 'refuses connections'")
    seen = examined("--no-request")
    (line,) = seen["Newest errors/jobs"]["details"]
    assert line.endswith("batch_0001: 3 results could not be read")
    (line,) = seen["Newest errors/upstreams"]["details"]
    assert line.endswith("/v1 refuses connections")


# What is shown


def test_secrets_are_never_shown(folder: Path) -> None:
    Path("overnight.toml").write_text(
        'api_keys = ["key-one"]\n[[upstreams]]\nurl = "http://127.0.0.1:9/v1"\napi_key = "key-two"'
    )
    at = "9999-01-01T00:00:00Z"
    log(folder, "sent Bearer key-three to http://me:key-four@host/v1", at, why="key-one key-two")
    for arguments in ((), ("--json",)):
        out = overnight("doctor", *arguments).out
        assert "key-" not in out
        assert "***@host" in out


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('[[upstreams]]\nurl = "http://127.0.0.1:9/v1"\napi_key = "key-two"', 1),
        ('api_keys = ["key-one"]', 1),
        ("workers = 1", 0),
    ],
)
def test_a_file_with_keys_is_for_its_owner_alone(text: str, found: int) -> None:
    path = Path("overnight.toml")
    path.write_text(text)
    path.chmod(0o640)
    checks = examined().all("Program/keys")
    assert [check["advice"] for check in checks] == ["chmod 600 overnight.toml"] * found
    path.chmod(0o600)
    assert examined().all("Program/keys") == []


def test_what_would_steer_a_terminal_is_shown_instead() -> None:
    found = Scrubber([]).scrubbed(fail("name", "a\x1b[31mb\nc", "advice"))
    assert found.message == r"a\x1b[31mb\nc"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("columns", [60])
def test_on_a_terminal(columns: int) -> None:
    shown = on_terminal("doctor", "--no-request", columns=columns)
    lines = without_controls(shown.out).splitlines()
    assert max(map(len, lines)) <= columns
    assert "Stored bytes" in lines
    assert re.search(r"\x1b\[\d*m", shown.out)
    bare = on_terminal("doctor", "--no-request", columns=columns, NO_COLOR="1")
    assert "\x1b" not in bare.out


def test_off_a_terminal_each_finding_is_one_line(folder: Path) -> None:
    segments(folder)[0].unlink()
    ended = overnight("doctor", "--no-request")
    assert ended.code == 1
    lines = ended.out.splitlines()
    assert "  fail  bytes       damage in 1 place; looked at 1 plan, 3 segments, 1 file" in lines
    assert lines[-1].endswith("ok.")
    assert ended.err == ""
