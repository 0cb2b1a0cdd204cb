"""`overnight validate`: what it says of good files, of bad ones, and of upstreams."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from overnight.cli.validate import REPORT_FIELDS
from overnight.domain.fault_codes import FaultCode
from support.command_line import overnight
from support.sim import SimProcess, running_sim

CHAT = "/v1/chat/completions"
NOBODY = "http://127.0.0.1:9/v1"


def request(custom_id: str, model: str = "m", text: str = "Hi", **fields: Any) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return json.dumps({"custom_id": custom_id, **fields, "body": body})


def write(*lines: str) -> Path:
    path = Path("input.jsonl")
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


GOOD = (request("a"), request("b", "n"))
BAD = (request("a"), request("a"), "{")


def test_a_good_file() -> None:
    ended = overnight("validate", write(*GOOD))
    assert (ended.code, ended.err) == (0, "")
    first, *rows = ended.out.splitlines()
    assert first == "2 requests, no faults"
    labels = [row[2:11].strip() for row in rows]
    assert labels == ["endpoint", "models", "", "size", "prompts", "longest", "shards"]
    assert "m  1 request" in ended.out


def test_a_good_file_for_programs() -> None:
    path = write(*GOOD, "", request("c", "n", "é" * 40), request("d", "n", "Hi", url=CHAT))
    data = json.loads(overnight("validate", path, "--json").out)
    assert len(data.pop("digest")) == 32
    lines = path.read_bytes().splitlines()
    bodies = [json.dumps(json.loads(line)["body"]) for line in lines if line]
    assert data == {
        "valid": True,
        "faults": [],
        "lines": 4,
        "fine_lines": 4,
        "requests": 4,
        "models": {"m": 1, "n": 3},
        "endpoint": CHAT,
        "bytes": path.stat().st_size,
        "body_bytes": sum(map(len, bodies)),
        "prompt_tokens": (3 * 2 + 80) // 4,
        "repeated_bodies": 1,
        "longest_line": {"line": 4, "bytes": max(map(len, lines))},
        "shards": 2,
        "served": None,
        "silent": None,
    }


@pytest.mark.parametrize("lines", [GOOD, BAD])
def test_programs_always_get_all_fields_that_are_documented(lines: tuple[str, ...]) -> None:
    data = json.loads(overnight("validate", write(*lines), "--json").out)
    assert list(data) == list(REPORT_FIELDS)


def test_a_bad_file() -> None:
    ended = overnight("validate", write(*BAD))
    assert (ended.code, ended.err) == (3, "")
    lines = ended.out.splitlines()
    assert lines[0] == "input.jsonl:2: duplicate_custom_id custom_id"
    assert lines[1] == "  custom_id 'a' is already used on line 1; each must be unique."
    assert lines[2].startswith('  2 | {"custom_id": "a", "body"')
    assert lines[3] == "    |               ^^^"
    assert "input.jsonl:3: invalid_json_line" in lines
    assert lines[-2:] == [
        "2 faults on 2 lines: 1 duplicate_custom_id, 1 invalid_json_line",
        "3 lines read, 1 without a fault",
    ]


def test_a_bad_file_for_programs() -> None:
    ended = overnight("validate", write(*BAD), "--json")
    assert ended.code == 3
    data = json.loads(ended.out)
    assert (data["valid"], data["lines"], data["fine_lines"]) == (False, 3, 1)
    assert [(fault["line"], fault["code"]) for fault in data["faults"]] == [
        (2, "duplicate_custom_id"),
        (3, "invalid_json_line"),
    ]
    start, end = data["faults"][0]["marked"]
    assert data["faults"][0]["excerpt"][start:end] == '"a"'


def test_a_file_that_is_something_else_is_one_fault() -> None:
    ended = overnight("validate", write(json.dumps([json.loads(line) for line in GOOD], indent=1)))
    assert ended.code == 3
    assert ended.out.startswith("input.jsonl: not_jsonl\n")
    assert "jq -c '.[]'" in ended.out
    assert ended.out.splitlines()[-1] == "1 fault: 1 not_jsonl"


def test_the_limits_of_the_settings_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_LIMITS__REQUESTS_MAX", "1")
    assert "too_many_tasks" in overnight("validate", write(*GOOD)).out


def test_one_endpoint() -> None:
    path = write('{"custom_id":"a","url":"/v1/embeddings","body":{"model":"m","input":"x"}}')
    assert overnight("validate", path, "--endpoint", "/v1/embeddings").code == 0
    refused = overnight("validate", path, "--endpoint", "/v1/completions")
    assert refused.code == 3
    assert "input.jsonl:1: invalid_url url" in refused.out


@pytest.mark.parametrize(
    "arguments", [("missing",), (".",), ("-",), ("input.jsonl", "--endpoint", "/v1")]
)
def test_what_can_not_be(arguments: tuple[str, ...]) -> None:
    write(*GOOD)
    ended = overnight("validate", *arguments)
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert ended.out == ""


@pytest.fixture(scope="module")
def sim() -> Iterator[SimProcess]:
    with running_sim("--model", "m") as process:
        yield process


def test_an_upstream_that_serves_the_models(sim: SimProcess) -> None:
    path = write(request("a"))
    ended = overnight("validate", path, "--upstream", sim.base_url)
    assert (ended.code, ended.err) == (0, "")
    assert f"m  1 request, served by {sim.base_url}" in ended.out
    data = json.loads(overnight("validate", path, "--upstream", sim.base_url, "--json").out)
    assert (data["served"], data["silent"]) == ({"m": [sim.base_url]}, {})


def test_an_upstream_that_does_not_serve_a_model(sim: SimProcess) -> None:
    ended = overnight("validate", write(*GOOD), "--upstream", sim.base_url)
    assert ended.code == 3
    assert "input.jsonl:2: model_not_found body.model" in ended.out
    assert "The model 'n' is not served; there are: m." in ended.out


def test_a_silent_upstream_leaves_the_question_open(sim: SimProcess) -> None:
    both = ("--upstream", sim.base_url, "--upstream", NOBODY)
    ended = overnight("validate", write(*GOOD), *both)
    assert ended.code == 1
    assert "no faults" in ended.out
    assert ended.err.startswith(f"warning: {NOBODY}: ")
    assert "error: nobody could be asked about n;" in ended.err


def test_a_silent_upstream_is_only_a_warning_when_another_serves_all(sim: SimProcess) -> None:
    both = ("--upstream", sim.base_url, "--upstream", NOBODY)
    ended = overnight("validate", write(request("a")), *both)
    assert ended.code == 0
    assert ended.err.startswith(f"warning: {NOBODY}: ")


CODES = {
    "empty_file": "",
    "not_jsonl": "a,b\n1,2",
    "not_requests": '{"messages": []}',
    "invalid_json_line": "{",
    "invalid_utf8": request("a").replace("Hi", "\udcff"),
    "line_too_long": request("a", text="x" * 2_000),
    "missing_required_parameter": "{}",
    "invalid_custom_id": request("").replace('""', "1"),
    "duplicate_custom_id": f"{request('a')}\n{request('a')}",
    "invalid_method": request("a", method="GET"),
    "file_unsupported": request("a", method="FILE"),
    "invalid_url": request("a", url="/v2"),
    "invalid_request": request("a", model=""),
    "streaming_unsupported": request("a").replace('"model"', '"stream": true, "model"'),
    "model_not_found": request("a", model="other"),
    "too_many_models": "\n".join(request(str(number), f"m{number}") for number in range(1_001)),
    "too_many_tasks": "\n".join(request(str(number)) for number in range(1_002)),
}


NOT_GIVEN_HERE = {FaultCode.TOO_MANY_LINES, FaultCode.MISMATCHED_MODEL}
"""A file of four billion lines is more than a test should write; the other needs a job."""


@pytest.mark.parametrize("code", sorted(set(FaultCode) - NOT_GIVEN_HERE))
def test_every_code_of_the_catalogue_is_given(
    code: str, sim: SimProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERNIGHT_LIMITS__LINE_BYTES_MAX", "1024")
    monkeypatch.setenv("OVERNIGHT_LIMITS__REQUESTS_MAX", "1001")
    Path("input.jsonl").write_text(CODES[code] + "\n", errors="surrogateescape")
    flags = ("--upstream", sim.base_url) if code == "model_not_found" else ()
    ended = overnight("validate", "input.jsonl", "--json", *flags)
    assert ended.code == 3
    assert {fault["code"] for fault in json.loads(ended.out)["faults"]} == {code}


def test_every_message_says_what_would_be_right() -> None:
    """A sentence or two, beginning like one and ending like one."""
    for code in set(CODES) - {"line_too_long", "model_not_found", "too_many_tasks"}:
        Path("input.jsonl").write_text(CODES[code] + "\n", errors="surrogateescape")
        for fault in json.loads(overnight("validate", "input.jsonl", "--json").out)["faults"]:
            assert re.fullmatch(r"\S.{30,}\.", fault["message"]), fault
