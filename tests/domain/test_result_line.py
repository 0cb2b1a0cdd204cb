"""Result lines are made of bytes; whatever goes in, what comes out is one JSON object a line."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.domain.request import Failure, FailureKind, Success
from overnight.domain.result_line import (
    KEPT_BYTES_MAX,
    Unsent,
    embeddable,
    failure_line,
    line_prefix,
    on_one_line,
    request_token,
    success_line,
    unsent_line,
)

PREFIX = line_prefix("0123456789abcdef01234567")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
json_objects = st.dictionaries(st.text(), json_values, max_size=4)
tokens = st.text(min_size=1).map(lambda text: json.dumps(text, ensure_ascii=False).encode())
line_numbers = st.integers(1, 2**32 - 1)
header_values = st.binary(max_size=400)
hostile_bodies = (
    st.binary(max_size=200)
    | json_values.map(lambda value: json.dumps(value, indent=1).replace("\n", "\r\n").encode())
    | st.sampled_from(
        [
            b'{"a":' * 50_000,
            b"[" * 50_000,
            b"9" * 6_000,
            b'{"a":"\xed\xa0\x80"}',
            b'"\\ud800"',
            b"\xef\xbb\xbf{}",
            b"<html>\n<body>502 Bad Gateway</body>\r\n</html>",
            b'"},"error":null}\n{"id":"forged"',
            b"",
            b"\x00",
        ]
    )
)


def parsed(line: bytes) -> dict[str, Any]:
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert b"\r" not in line
    value: dict[str, Any] = json.loads(line.decode())
    assert list(value) == ["id", "custom_id", "response", "error"]
    assert msgspec.json.decode(line, type=dict[str, msgspec.Raw]).keys() == value.keys()
    return value


@given(line_numbers, tokens, header_values, json_objects)
def test_a_success_is_one_line_that_holds_the_reply(
    number: int, custom_id: bytes, request_id: bytes, reply: dict[str, Any]
) -> None:
    body = on_one_line(json.dumps(reply, indent=2).encode())
    outcome = Success(200, request_token(request_id), body)
    line = parsed(success_line(PREFIX, number, custom_id, outcome))
    assert line["custom_id"] == json.loads(custom_id)
    assert line["response"]["status_code"] == 200
    assert line["response"]["body"] == reply
    assert isinstance(line["response"]["request_id"], str)
    assert line["error"] is None


replied_failures = st.builds(
    Failure,
    kind=st.sampled_from(FailureKind),
    detail=st.text(st.characters(exclude_categories=["Cs"])),
    status=st.integers(100, 999),
    request_id=header_values.map(request_token),
    body=hostile_bodies,
)


@given(line_numbers, tokens, replied_failures)
def test_a_refused_request_is_one_line_whatever_the_upstream_sent(
    number: int, custom_id: bytes, failure: Failure
) -> None:
    line = parsed(failure_line(PREFIX, number, custom_id, failure))
    assert line["custom_id"] == json.loads(custom_id)
    assert line["response"]["status_code"] == failure.status
    assert isinstance(line["response"]["request_id"], str)
    assert line["error"] == {"code": failure.kind.value, "message": failure.detail}


@given(line_numbers, tokens, st.sampled_from([Unsent.CANCELLED, Unsent.EXPIRED, Unsent.LOST]))
def test_a_request_never_sent_has_no_response(
    number: int, custom_id: bytes, reason: tuple[str, str]
) -> None:
    line = parsed(unsent_line(PREFIX, number, custom_id, reason))
    assert line["response"] is None
    assert line["error"] == {"code": reason[0], "message": reason[1]}


def test_a_failure_without_a_reply_has_no_response() -> None:
    failure = Failure(FailureKind.CONNECT, "refuses connections")
    assert parsed(failure_line(PREFIX, 1, b'"a"', failure))["response"] is None


@given(st.lists(st.tuples(st.sampled_from(["0a" * 12, "0b" * 12]), line_numbers), unique=True))
def test_ids_are_unique_within_and_across_jobs(places: list[tuple[str, int]]) -> None:
    lines = [
        parsed(success_line(line_prefix(job), number, b'"same"', Success(200, None, b"{}")))
        for job, number in places
    ]
    assert len({line["id"] for line in lines}) == len(places)
    assert len({line["response"]["request_id"] for line in lines}) == len(places)
    assert all(line["id"].startswith("batch_req_") for line in lines)


@given(line_numbers)
def test_a_line_written_again_is_the_same_line(number: int) -> None:
    failure = Failure(FailureKind.STATUS, "no", 400, None, b"no")
    assert failure_line(PREFIX, number, b'"a"', failure) == failure_line(
        PREFIX, number, b'"a"', failure
    )


@given(header_values)
def test_a_request_id_is_a_json_string_that_begins_as_the_header_does(value: bytes) -> None:
    token = request_token(value)
    if not value:
        assert token is None
    else:
        assert token is not None
        assert json.loads(token) == value[:256].decode("latin-1")


@pytest.mark.parametrize("value", [b'x"y', b"x\\y", b"x\ny", b"\xff", b"x" * 257, b'","a":"'])
def test_a_request_id_with_more_than_plain_characters_is_escaped_or_cut(value: bytes) -> None:
    assert json.loads(request_token(value) or b"") == value[:256].decode("latin-1")


@given(json_values)
def test_line_breaks_between_tokens_go_and_those_in_strings_stay(value: object) -> None:
    text = json.dumps(value, indent=1).replace("\n", "\r\n").encode()
    line = on_one_line(text)
    assert b"\n" not in line
    assert b"\r" not in line
    assert json.loads(line) == value


@given(json_values)
def test_an_error_body_that_is_json_stays_what_it_was(value: object) -> None:
    assert json.loads(embeddable(json.dumps(value).encode())) == (
        value if not oversized(value) else json.dumps(value)
    )


def oversized(value: object) -> bool:
    """msgspec reads integers of up to 64 bits; a larger one, alone, is kept as a string."""
    try:
        msgspec.json.decode(json.dumps(value))
    except msgspec.DecodeError:
        return True
    return False


@given(st.binary())
def test_an_error_body_that_is_not_json_becomes_a_string(body: bytes) -> None:
    value = json.loads(embeddable(body))
    try:
        json.loads(body.decode())
    except ValueError:
        assert value == body.decode("utf-8", "replace")


def test_of_a_very_long_reply_an_error_line_keeps_the_beginning() -> None:
    body = b'{"a":"%b"}' % (b"\xe2\x82\xac" * KEPT_BYTES_MAX)
    kept = json.loads(embeddable(body))
    assert kept.startswith('{"a":"€€€')
    assert kept.endswith(f"… (the first of {len(body):,} bytes)")
    assert len(kept.encode()) < KEPT_BYTES_MAX + 100
    assert (
        embeddable(b"\xff" * KEPT_BYTES_MAX)
        == json.dumps("\ufffd" * KEPT_BYTES_MAX, ensure_ascii=False).encode()
    )
