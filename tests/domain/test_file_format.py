"""Whole files that are something else are told by how they begin."""

import gzip
import json
from typing import Any

import pytest

from overnight.domain.file_format import HEAD_BYTES, foreign_format

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi, you"}]}
REQUEST = {"custom_id": "a", "body": BODY}


def lines(*objects: object) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in objects)


@pytest.mark.parametrize(
    ("head", "what", "right"),
    [
        (gzip.compress(lines(REQUEST), mtime=0), "gzip", "gunzip"),
        (b"\x28\xb5\x2f\xfd....", "zstd", "unzstd"),
        (b"PAR1....", "Parquet", "json.dumps"),
        (b"PK\x03\x04....", "spreadsheet", "Unpack"),
        (lines(REQUEST).decode().encode("utf-16"), "UTF-16", "iconv"),
        (lines(REQUEST).decode().encode("utf-16-le"), "UTF-16", "iconv"),
        (lines(REQUEST).decode().encode("utf-16-be"), "UTF-16", "iconv"),
        (b"\x01\x02\x00\x05\x07\x08\x09", "not text", "one JSON object per line"),
        (lines([REQUEST, REQUEST]), "one JSON array", "jq -c '.[]'"),
        (json.dumps([REQUEST], indent=2).encode(), "one JSON array", "jq -c '.[]'"),
        (b"\xef\xbb\xbf" + lines([REQUEST]), "one JSON array", "jq -c '.[]'"),
        (json.dumps(REQUEST, indent=2).encode(), "several lines", "jq -c ."),
        (b"custom_id,prompt\na,hello\nb,bye\n", "a table", "csv"),
        (b"id\tprompt\na\thello\n", "a table", "csv"),
        (b'"custom_id","body"\n"a","{""model"": ""m""}"\n', "a table", "csv"),
        (b"Tell me a joke\nSay hello\n", "plain text", "one JSON object per line"),
        (b"<!DOCTYPE html><html>", "web page", "one JSON object per line"),
        (f"{REQUEST}\n{REQUEST}\n".encode(), "Python literals", "json.dumps"),
        ("{“custom_id”: “a”}\n".encode(), "typographic", "plain double quotes"),
        (lines(REQUEST, REQUEST).replace(b"\n", b"\r"), "carriage returns", "tr "),
        (lines(REQUEST, REQUEST).replace(b"\n", b",\n"), "inside of a JSON array", "commas"),
    ],
)
def test_what_is_not_jsonl(head: bytes, what: str, right: str) -> None:
    fault = foreign_format(head)
    assert fault is not None
    assert (fault.code, fault.line) == ("not_jsonl", None)
    assert what in fault.message
    assert right in fault.message


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"messages": BODY["messages"]}, "fine-tuning"),
        ({"prompt": "a", "completion": "b"}, "fine-tuning"),
        ({"conversations": []}, "fine-tuning"),
        (BODY, "bare request body"),
        ({"custom_id": "a"} | BODY, "bare request body"),
        ({"custom_id": "a", "params": BODY}, "Anthropic"),
        ({"key": "a", "request": {"contents": []}}, "Gemini"),
        ({"id": "batch_req_1", "custom_id": "a", "response": {}, "error": None}, "result"),
    ],
)
def test_what_is_jsonl_of_another_kind(row: dict[str, Any], what: str) -> None:
    fault = foreign_format(lines(row, row))
    assert fault is not None
    assert (fault.code, fault.line) == ("not_requests", None)
    assert what in fault.message


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\n\r\n",
        b"nonsense",
        b"// a comment\n" + lines(REQUEST),
        lines(REQUEST),
        lines({}, REQUEST),
        lines(BODY, REQUEST),
        b"{\n" + lines(REQUEST),
        lines(REQUEST)[:-1] + b",\n" + lines(REQUEST),
        lines(REQUEST)[:40] + b"\nwith a line break\n" + lines(REQUEST),
        b"{" + b"x" * HEAD_BYTES,
    ],
)
def test_a_file_that_is_only_faulty_is_judged_by_its_lines(head: bytes) -> None:
    assert foreign_format(head[:HEAD_BYTES]) is None


def test_a_line_that_is_cut_off_by_the_end_of_the_head_counts_for_nothing() -> None:
    cut = lines(BODY) + b'{"messages": "' + b"x" * HEAD_BYTES
    fault = foreign_format(cut[:HEAD_BYTES])
    assert fault is not None
    assert "bare request body" in fault.message
