"""What every client goes through, step by step, whatever its calls are named.

Runs inside the environment of the client, so it uses the standard library only. A program makes a
`Client` of the SDK it is for and hands it to `play`, which writes one JSON row per step.
"""

import json
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neighbours import move_in
from vocabulary import CHAT, PART_BYTES, Client, File, Job, NotOffered, Options, Refused

MODEL, SLOW_MODEL = "sim", "slow"
IDS = [f"r{number}" for number in range(20)]
ENDED = {"completed", "failed", "expired", "cancelled"}
Line = dict[str, Any]
WAIT_SECONDS = 60


@dataclass
class Scenario:
    """Each public method is a step; later ones use what earlier ones made."""

    client: Client
    options: Options
    made: dict[str, File | Job] = field(default_factory=dict)

    # Files

    def upload(self) -> None:
        path = self.write("ünïcode in.jsonl", requests(IDS))
        file = self.made["input"] = self.client.upload(path)
        assert file.id.startswith("file-"), file
        assert file.bytes == path.stat().st_size, file
        assert file.filename == path.name, file
        assert file.purpose in {"batch", "batch-api"}, file

    def upload_in_parts(self) -> None:
        path = self.write("large.jsonl", requests([f"p{n}" for n in range(2_000)], padding=200))
        assert path.stat().st_size > 3 * PART_BYTES
        file = self.client.upload_in_parts(path)
        assert (file.bytes, file.filename) == (path.stat().st_size, path.name), file
        assert self.client.content(file.id) == path.read_bytes(), "other bytes came back"
        self.client.delete(file.id)

    def upload_expiring(self) -> None:
        file = self.client.upload(self.write("brief.jsonl", requests(["a"])), lives_seconds=3600)
        assert file.lives_seconds == 3600, file
        assert self.client.file(file.id) == file
        self.client.delete(file.id)

    def upload_refused(self) -> None:
        path = self.write("a.jsonl", requests(["a"]))
        refused = self.refused(lambda: self.client.upload_for(path, "no purpose!"))
        refused.must_be(400, param="purpose")

    def read_file(self) -> None:
        assert self.client.file(self.input.id) == self.input

    def read_content(self) -> None:
        assert self.client.content(self.input.id) == requests(IDS)

    def list_files(self) -> None:
        listed = self.client.files()
        assert self.input.id in listed, f"{self.input.id} is not among {len(listed)} files"
        assert len(set(listed)) == len(listed), "a file is listed twice"

    def list_after_deleted(self) -> None:
        older, cursor = (
            self.client.upload(self.write(f"{name}.jsonl", requests([name]))) for name in "ab"
        )
        first = self.client.page(None, 1)
        assert first == [cursor.id], f"the first page is {first}, not {cursor.id}"
        self.client.delete(cursor.id)
        second = self.client.page(cursor.id, 1)
        assert second == [older.id], f"the second page is {second}, not {older.id}"
        self.client.delete(older.id)

    def delete_file(self) -> None:
        file = self.client.upload(self.write("gone.jsonl", requests(["a"])))
        self.client.delete(file.id)
        with suppress(NotOffered):
            self.refused(lambda: self.client.file(file.id)).must_be(404)
        assert file.id not in self.client.files()

    # Jobs

    def create(self) -> None:
        more = {"metadata": {"run": "1"}} if self.client.has_metadata else {}
        job = self.made["job"] = self.client.create(self.input.id, **more)
        assert job.id.startswith("batch_"), job
        assert (job.status, job.input_file_id) == ("validating", self.input.id), job
        assert job.counts in (None, (0, 0, 0)), job

    def poll(self) -> None:
        job = self.made["ended"] = self.ended(self.job_made("job"))
        assert job.status == "completed", job
        assert job.counts in (None, (len(IDS), len(IDS), 0)), job
        assert not self.client.has_metadata or job.metadata == {"run": "1"}, job
        assert (job.error_file_id, job.faults) == (None, ""), job

    def download(self) -> None:
        job = self.job_made("ended")
        lines = parsed(self.client.results(job))
        assert [line["custom_id"] for line in lines] == IDS, lines[:3]
        for line in lines:
            assert line["response"]["status_code"] == 200, line
            assert line["response"]["body"]["choices"], line
        name = self.client.file(job.output_file_id or "").filename
        assert name.endswith(".jsonl"), name

    def refused_requests(self) -> None:
        data = requests(["a", "b"]) + requests(["c", "d"], messages=[])
        job = self.run("some refused.jsonl", data)
        assert (job.status, job.counts) in (("completed", None), ("completed", (4, 2, 2))), job
        assert [line["custom_id"] for line in self.lines(job.output_file_id)] == ["a", "b"]
        self.check_refused(job, ["c", "d"])
        job = self.run("all refused.jsonl", requests(["e"], messages=[]))
        assert (job.status, job.output_file_id) == ("completed", None), job
        self.check_refused(job, ["e"])

    def check_refused(self, job: Job, ids: list[str]) -> None:
        lines = self.lines(job.error_file_id)
        assert [line["custom_id"] for line in lines] == ids, lines
        for line in lines:
            assert line["response"]["status_code"] == 400, line
            assert isinstance(line["response"]["body"]["error"]["message"], str), line
            assert isinstance(line["error"]["code"], str), line

    def faulty_input(self) -> None:
        job = self.run("faulty.jsonl", requests(["a", "a"]))
        assert (job.status, job.output_file_id, job.error_file_id) == ("failed", None, None), job
        assert "duplicate_custom_id" in job.faults or "twice" in job.faults, job.faults
        assert "2" in job.faults, f"no line is named: {job.faults}"

    def list_jobs(self) -> None:
        listed = self.client.jobs()
        wanted = self.job_made("job").id
        assert wanted in listed, f"{wanted} is not among {len(listed)} jobs"
        assert len(set(listed)) == len(listed), "a job is listed twice"

    def output_expiry(self) -> None:
        job = self.ended(self.client.create(self.input.id, output_lives_seconds=7200))
        file = self.client.file(job.output_file_id or "")
        assert file.lives_seconds == 7200, file

    def model_and_priority(self) -> None:
        job = self.client.create(self.input.id, model=MODEL, priority=1)
        assert job.model == MODEL, job
        assert self.client.job(job.id).model == MODEL
        self.ended(job)

    def repeated_create(self) -> None:
        key = f"{self.options.rows.stem}-{time.time_ns()}"
        first, second = (self.client.create(self.input.id, idempotency_key=key) for _ in range(2))
        assert first.id == second.id, f"two jobs, {first.id} and {second.id}"
        self.ended(first)

    def file_in_use(self) -> None:
        data = requests([f"s{n}" for n in range(3)], model=SLOW_MODEL)
        file = self.made["slow input"] = self.client.upload(self.write("slow.jsonl", data))
        job = self.made["slow job"] = self.client.create(file.id)
        self.until(job, {"in_progress"})
        refused = self.refused(lambda: self.client.delete(file.id))
        refused.must_be(409)
        assert job.id in refused.message, f"it does not say which job: {refused.message}"

    def cancel(self) -> None:
        job = self.job_made("slow job")
        for _ in range(2):
            assert self.client.cancel(job.id).status in {"cancelling", "cancelled"}
        job = self.ended(job)
        assert job.status == "cancelled", job
        lines = self.lines(job.error_file_id)
        assert [line["custom_id"] for line in lines] == ["s0", "s1", "s2"], lines
        for line in lines:
            assert line["error"]["code"] == "batch_cancelled", line
        self.client.delete(job.input_file_id)

    def cancel_ended(self) -> None:
        refused = self.refused(lambda: self.client.cancel(self.job_made("ended").id))
        refused.must_be(409)
        assert "completed" in refused.message.lower(), refused

    # What is wrong

    def unknown_ids(self) -> None:
        client = self.client
        calls: list[tuple[Callable[[], object], int]] = [
            (lambda: client.file("file-none"), 404),
            (lambda: client.content("file-none"), 404),
            (lambda: client.delete("file-none"), 404),
            (lambda: client.create("file-none"), 400),
            (lambda: client.job("batch_none"), 404),
            (lambda: client.cancel("batch_none"), 404),
        ]
        for number, (call, status) in enumerate(calls):
            try:
                refused = self.refused(call)
            except NotOffered:
                continue
            refused.must_be(status)
            if refused.message:
                assert "none" in refused.message, f"call {number} does not name it: {refused}"

    def wrong_endpoint(self) -> None:
        refused = self.refused(lambda: self.client.create(self.input.id, "/v1/none"))
        refused.must_be(400, param="endpoint")
        assert CHAT in refused.message, f"it does not say what would be right: {refused}"

    def wrong_metadata(self) -> None:
        for metadata in ({"key": "x" * 513}, {f"key{n}": "x" for n in range(17)}):
            refused = self.refused(
                lambda given=metadata: self.client.create(self.input.id, metadata=given)
            )
            refused.must_be(400, param="metadata")

    def wrong_key(self) -> None:
        refused = self.refused(lambda: self.client.with_key("wrong").files())
        refused.must_be(401)
        assert "key" in refused.message.lower(), refused

    def other_base_urls(self) -> None:
        path = self.write("place.jsonl", requests(["a"]))
        for client in self.client.at_other_places():
            file = client.upload(path)
            assert client.file(file.id) == file
            assert file.id in client.files()
            client.delete(file.id)

    # What steps share

    @property
    def input(self) -> File:
        if "upload" not in self.options.steps and "input" not in self.made:
            self.upload()
        file = self.made.get("input")
        assert isinstance(file, File), "there is no file: `upload` failed"
        return file

    def job_made(self, name: str) -> Job:
        job = self.made.get(name)
        assert isinstance(job, Job), f"there is no {name}: a step before this one failed"
        return job

    def run(self, name: str, data: bytes) -> Job:
        file = self.client.upload(self.write(name, data))
        job = self.ended(self.client.create(file.id))
        self.client.delete(file.id)
        return job

    def ended(self, job: Job) -> Job:
        return self.until(job, ENDED)

    def until(self, job: Job, statuses: set[str]) -> Job:
        deadline = time.monotonic() + WAIT_SECONDS
        while job.status not in statuses:
            assert job.status not in ENDED, f"{job} is not {statuses}"
            assert time.monotonic() < deadline, f"{job} was not {statuses} in {WAIT_SECONDS} s"
            time.sleep(0.05)
            job = self.client.job(job.id)
        return job

    def lines(self, file_id: str | None) -> list[Line]:
        assert file_id is not None, "there is no file"
        return parsed(self.client.content(file_id))

    def write(self, name: str, data: bytes) -> Path:
        path = self.options.folder / name
        path.write_bytes(data)
        return path

    def refused(self, call: Callable[[], object]) -> Refused:
        """Raises `AssertionError` when it is not refused, and what else the call raises."""
        try:
            result = call()
        except Refused as refused:
            return refused
        except Exception as error:
            if seen := self.client.as_refusal(error):
                return seen
            raise
        raise AssertionError(f"it was not refused, but answered {result}")


def parsed(content: bytes) -> list[Line]:
    assert content.endswith(b"\n"), content[-80:]
    return [json.loads(line) for line in content.split(b"\n")[:-1]]


def requests(ids: list[str], padding: int = 0, **body: object) -> bytes:
    """Lines with texts that are not ASCII."""
    lines = []
    for custom_id in ids:
        text = f"grüße an {custom_id}" + "." * padding
        base = {"model": MODEL, "max_tokens": 4, "messages": [{"role": "user", "content": text}]}
        line = {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": base | body}
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    return "".join(lines).encode()


def play(make: Callable[[Options], Client]) -> None:
    """Go through the steps that were asked for; a step that fails does not end it."""
    options = Options.read()
    move_in(options.base_url, options.key, requests(["neighbour"]))
    scenario = Scenario(make(options), options)
    for step in options.steps:
        row: dict[str, object] = {"step": step, "differs": None}
        began = time.monotonic()
        try:
            getattr(scenario, step)()
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            row["differs"] = said(error)
        row["seconds"] = round(time.monotonic() - began, 3)
        with options.rows.open("a") as rows:
            rows.write(json.dumps(row) + "\n")


def said(error: Exception) -> str:
    """In one line of a bearable length."""
    text = " ".join(str(error).split()) or "(no message)"
    kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
    return (kind + text)[:400]
