"""Bad upstreams as users meet them: what is in the error file, what a run needs, what it says."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.batches import input_line
from support.polling import wait_for
from support.scripted import CLOSE, Received, Steps, reply, reply_json
from support.scripted_thread import scripted
from support.service import running_service

MODELS = {"data": [{"id": "m"}]}
ANSWER = reply_json({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})

BAD: dict[str, tuple[Steps, str, str]] = {
    "page": (
        reply(200, b"<!doctype html><title>Sign in</title>"),
        "invalid_upstream_reply",
        "The upstream answered 200 with a page of HTML or XML.",
    ),
    "error-inside": (
        reply_json({"error": {"message": "out of memory"}}),
        "invalid_upstream_reply",
        "The upstream answered 200 with an error inside: out of memory",
    ),
    "gzip": (
        reply(200, b"\x1f\x8b\x08", content_encoding="gzip"),
        "invalid_upstream_reply",
        "The upstream answered 200 with a body compressed as gzip, though asked not to.",
    ),
    "events": (
        reply(200, b'data: {"choices":[]}\n\ndata: [DONE]\n\n'),
        "invalid_upstream_reply",
        "The upstream answered 200 with a stream of events, though asked for none.",
    ),
    "redirect": (
        reply(307, b"", location="http://127.0.0.1:1/v1"),
        "upstream_error",
        "The upstream answered 307, a redirect, and redirects are not followed.",
    ),
    "too-large": (
        [b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 1_000] * 40, CLOSE],
        "upstream_reply_too_large",
        "The upstream answered with more than 20,000 bytes.",
    ),
    "cut": (
        [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", CLOSE],
        "upstream_disconnected",
        "The upstream closed the connection within its reply.",
    ),
    "silent": (
        [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}"],
        "request_timeout",
        "The upstream did not send the rest of the reply in time.",
    ),
}


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    said: str
    rss_max_bytes: int


_MEASURED = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A process inherits the peak memory of the one that starts it, and ours may be large by now."""


def run(url: str, *words: str, **settings: object) -> Done:
    """`overnight run in.jsonl -o out.jsonl`, in a process of its own."""
    command = [sys.executable, "-m", "overnight", "run", "in.jsonl", "-o", "out.jsonl"]
    environment = {f"OVERNIGHT_{name.upper()}": str(value) for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *command, "--upstream", url, *words],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    said, _, peak = done.stdout.rstrip("\n").rpartition("\n")
    unit = 1 if sys.platform == "darwin" else 1024
    return Done(done.returncode, said, int(peak) * unit)


def lines(path: Path) -> dict[str, dict[str, Any]]:
    read = map(json.loads, path.read_text().splitlines())
    return {line["custom_id"]: line for line in read}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def input_of(names: Sequence[str]) -> bytes:
    return b"".join(
        input_line(name, model="m", messages=[{"role": "user", "content": name}]) for name in names
    )


def asked_of(request: Received) -> str:
    return str(json.loads(request.body)["messages"][0]["content"])


def test_the_error_file_says_what_each_upstream_did(folder: Path) -> None:
    good = [f"good-{number}" for number in range(30)]
    names = [*good[:10], *BAD, *good[10:]]
    Path("in.jsonl").write_bytes(input_of(names))
    tries: dict[str, int] = {}

    def script(request: Received) -> Steps:
        if request.method == "GET":
            return reply_json(MODELS)
        name = asked_of(request)
        tries[name] = tries.get(name, 0) + 1
        return BAD[name][0] if name in BAD else ANSWER

    with scripted(script) as upstream:
        done = run(
            upstream.base_url,
            "--max-in-flight",
            "1",
            limits__reply_bytes_max=20_000,
            timeouts__idle_seconds=0.5,
            retry__attempts_max=2,
            retry__backoff_first_seconds=0.01,
        )
    assert done.code == 4, done.said
    assert sorted(lines(Path("out.jsonl"))) == sorted(good)
    failed = lines(folder / "out.errors.jsonl")
    told = {
        name: (line["error"]["code"], line["error"]["message"]) for name, line in failed.items()
    }
    assert told == {name: (code, message) for name, (_, code, message) in BAD.items()}
    assert max(tries.values()) <= 2 * 2


def test_long_replies_in_flight_do_not_add_up(folder: Path) -> None:
    count, reply_bytes = 24, 12_000_000
    Path("in.jsonl").write_bytes(input_of([f"r{number}" for number in range(count)]))
    piece = b"x" * 100_000
    long = [
        b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (reply_bytes + 8),
        b'{"a":"',
        *[piece] * (reply_bytes // len(piece)),
        b'"}',
    ]
    with scripted(lambda r: reply_json(MODELS) if r.method == "GET" else long) as upstream:
        done = run(
            upstream.base_url,
            "--max-in-flight",
            str(count),
            limits__replies_bytes_max=reply_bytes,
        )
    assert done.code == 0, done.said
    assert Path("out.jsonl").stat().st_size > count * reply_bytes
    assert done.rss_max_bytes < count * reply_bytes * 0.85


def test_a_job_waits_and_says_why_while_its_upstream_is_none(tmp_path: Path) -> None:
    """And nobody has been charged when it is one again."""
    wrong: list[tuple[Steps, str]] = [
        ([b"SSH-2.0-OpenSSH_9.6\r\n", CLOSE], "HTTP/1.1"),
        (reply(200, b"<html>"), "answers with a web page: check its URL"),
        (reply(308, b"", location="https://x/"), "answers 308, a redirect: give it the URL"),
    ]
    now: list[Steps] = [wrong[0][0]]
    with (
        scripted(lambda _: now[0]) as upstream,
        running_service(tmp_path, upstream.base_url) as service,
    ):
        job = service.client.submit(input_of(["a", "b", "c", "d"]))
        for steps, why in wrong:
            now[0] = steps
            wait_for(
                lambda: why in str(service.client.get(job)["waiting_for"]),  # noqa: B023
                seconds=60,
                what=f"the reason {why!r}",
            )
        now[0] = ANSWER
        done = service.client.wait(job, 60)
        assert done["request_counts"] == {"total": 4, "completed": 4, "failed": 0}
