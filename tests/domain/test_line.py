"""What is accepted of one line, what is refused, and where the parts of a good one lie."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from overnight.domain.excerpts import EXCERPT_CHARACTERS_MAX
from overnight.domain.line import CheckedLine, LineChecker
from overnight.domain.request import Fault, LineRules

CHAT = "/v1/chat/completions"
LOOSE = LineRules(CHAT)
ROUTED = LineRules(CHAT, routed=True)
ANY_ENDPOINT = LineRules(None)

GOOD: dict[str, Any] = {
    "custom_id": "a",
    "method": "POST",
    "url": CHAT,
    "body": {"model": "m", "messages": []},
}


def check(line: bytes, rules: LineRules = LOOSE) -> CheckedLine | Fault | None:
    return LineChecker(rules).check(line, 7)


def accepted(line: bytes, rules: LineRules = LOOSE) -> CheckedLine:
    checked = check(line, rules)
    assert isinstance(checked, CheckedLine), checked
    return checked


def refused(line: bytes, rules: LineRules = LOOSE) -> Fault:
    fault = check(line, rules)
    assert isinstance(fault, Fault), fault
    assert fault.line == 7
    return fault


def changed(**fields: Any) -> bytes:
    """The good line with some fields changed; `...` leaves one out."""
    line = {name: value for name, value in (GOOD | fields).items() if value is not ...}
    return json.dumps(line).encode()


def body(**fields: Any) -> bytes:
    return changed(body={"model": "m", "messages": []} | fields)


def parts(line: bytes, checked: CheckedLine) -> tuple[bytes, bytes]:
    token = line[checked.id_offset : checked.id_offset + checked.id_bytes]
    return token, line[checked.body_offset : checked.body_offset + checked.body_bytes]


@pytest.mark.parametrize(
    "line",
    [
        json.dumps(GOOD).encode(),
        json.dumps(GOOD, separators=(",", ":")).encode(),
        json.dumps(GOOD, sort_keys=True).encode(),
        json.dumps(GOOD, indent=1).replace("\n", " ").encode(),
        json.dumps(GOOD).encode() + b"\r",
        b" \t" + json.dumps(GOOD).encode() + b" ",
        json.dumps(dict(reversed(GOOD.items()))).encode(),
        json.dumps(GOOD | {"priority": {"body": {"model": "other"}}}).encode(),
        json.dumps({"note": '"body": {"model": "m"}'} | GOOD).encode(),
        json.dumps(GOOD).replace('"custom_id"', '"custom\\u005fid"').encode(),
    ],
)
@pytest.mark.parametrize("rules", [LOOSE, ROUTED, ANY_ENDPOINT])
def test_a_line_may_be_written_in_any_way(line: bytes, rules: LineRules) -> None:
    checked = accepted(line, rules)
    token, request = parts(line, checked)
    assert (token, json.loads(request)) == (b'"a"', GOOD["body"])
    assert (checked.model, checked.custom_id, checked.url) == ("m", b"a", CHAT)


@pytest.mark.parametrize("line", [b"", b" ", b"\r", b"\t \r"])
def test_a_blank_line_is_nothing(line: bytes) -> None:
    assert check(line) is None


@pytest.mark.parametrize("fields", [{"method": ...}, {"url": ...}, {"url": None, "method": None}])
def test_method_and_url_are_needed_only_when_routed(fields: dict[str, Any]) -> None:
    accepted(changed(**fields), LOOSE)
    assert refused(changed(**fields), ROUTED).code == "missing_required_parameter"


@pytest.mark.parametrize("url", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"])
def test_without_an_endpoint_every_known_one_is_fine(url: str) -> None:
    request = {"model": "m", "messages": [], "prompt": "", "input": ""}
    assert accepted(changed(url=url, body=request), ANY_ENDPOINT).url == url


@pytest.mark.parametrize(
    ("endpoint", "content", "fine"),
    [
        (CHAT, "messages", True),
        (CHAT, "prompt", False),
        ("/v1/completions", "prompt", True),
        ("/v1/completions", "prompt_embeds", True),
        ("/v1/completions", "messages", False),
        ("/v1/embeddings", "input", True),
        ("/v1/embeddings", "messages", True),
        ("/v1/embeddings", "prompt", False),
        ("/v1/rerank", "query", True),
        (None, "input", True),
        (None, "prompt_embeds", True),
        (None, "text", False),
    ],
)
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("model_first", [True, False])
def test_a_body_has_what_its_endpoint_works_on(
    endpoint: str | None, content: str, *, fine: bool, named: bool, model_first: bool
) -> None:
    request = {"model": "m", content: "x"} if model_first else {content: "x", "model": "m"}
    line = changed(body=request, url=endpoint if named and endpoint else ...)
    if fine:
        accepted(line, LineRules(endpoint))
    else:
        fault = refused(line, LineRules(endpoint))
        assert fault.code == "invalid_request"
        assert "It needs one of" in fault.message or "is missing" in fault.message


def test_line_separators_of_unicode_are_characters_like_others() -> None:
    line = changed(custom_id="a").replace(b'"a"', '"a\u2028\u2029\u0085"'.encode())
    assert accepted(line).custom_id == "a\u2028\u2029\u0085".encode()


def test_of_a_key_that_appears_twice_the_last_counts() -> None:
    line = (
        b'{"custom_id":"a","custom_id":"b","body":{},"body":{"model":1,"model":"m","messages":[]}}'
    )
    checked = accepted(line)
    assert parts(line, checked) == (b'"b"', b'{"model":1,"model":"m","messages":[]}')
    assert checked.model == "m"


REFUSALS = [
    # line, code, param, a part of the message
    (b"{", "invalid_json_line", None, "ends too early"),
    (b"nonsense", "invalid_json_line", None, "parseable"),
    (b"[1]", "invalid_json_line", None, "not a JSON object"),
    (b'"text"', "invalid_json_line", None, "not a JSON object"),
    (json.dumps(GOOD).encode() + b"x", "invalid_json_line", None, "has ended"),
    (json.dumps(GOOD).encode() * 2, "invalid_json_line", None, "second object"),
    (json.dumps(GOOD).encode() + b"}", "invalid_json_line", None, "has ended"),
    (body(temperature=float("nan")), "invalid_json_line", None, "a number or null"),
    (body(temperature=float("inf")), "invalid_json_line", None, "a number or null"),
    (changed(custom_id="\ud800"), "invalid_json_line", None, "surrogate"),
    (body(note="\udc00"), "invalid_json_line", None, "surrogate"),
    (changed().replace(b'"a"', b'"a\tb"'), "invalid_json_line", None, "escaped"),
    (changed().replace(b"[]", b"[" * 100_000), "invalid_json_line", None, "nested"),
    (changed().replace(b'"m"', b'"\xff"'), "invalid_utf8", None, "0xff"),
    (changed().replace(b"[]", b'["\xc0\xaf"]'), "invalid_utf8", None, "0xc0"),
    (changed().replace(b"[]", b'["\xed\xa0\x80"]'), "invalid_utf8", None, "0xed"),
    (changed().decode().encode("utf-16"), "invalid_utf8", None, "UTF-8"),
    (changed(custom_id=...), "missing_required_parameter", "custom_id", "'custom_id'"),
    (changed(custom_id=None), "missing_required_parameter", "custom_id", "'custom_id'"),
    (changed(custom_id=5), "invalid_custom_id", "custom_id", "not a string"),
    (changed(custom_id=""), "invalid_custom_id", "custom_id", "empty"),
    (changed(custom_id="x" * 513), "invalid_custom_id", "custom_id", "1 to 512 bytes"),
    (changed(custom_id="é" * 257), "invalid_custom_id", "custom_id", "1 to 512 bytes"),
    (changed(method="GET"), "invalid_method", "method", '"GET"'),
    (changed(method="post"), "invalid_method", "method", '"POST"'),
    (changed(method=""), "invalid_method", "method", '"POST"'),
    (changed(method=1), "invalid_method", "method", '"POST"'),
    (changed(method="FILE"), "file_unsupported", "method", "audio"),
    (changed(url="/v1/embeddings"), "invalid_url", "url", CHAT),
    (changed(url="http://h/v1/chat/completions"), "invalid_url", "url", CHAT),
    (changed(url=""), "invalid_url", "url", CHAT),
    (changed(url="/completions"), "invalid_url", "url", CHAT),
    (changed(url="/v1/v1/chat/completions"), "invalid_url", "url", CHAT),
    (changed(url="chat/completions"), "invalid_url", "url", CHAT),
    (changed(url=["/v1"]), "invalid_url", "url", CHAT),
    (changed(body=...), "missing_required_parameter", "body", "'body'"),
    (changed(body=None), "missing_required_parameter", "body", "'body'"),
    (changed(body="{}"), "invalid_request", "body", "object"),
    (changed(body=[{"model": "m"}]), "invalid_request", "body", "object"),
    (changed(body={}), "invalid_request", "body.model", "missing"),
    (body(model=None), "invalid_request", "body.model", "missing"),
    (body(model=""), "invalid_request", "body.model", "not empty"),
    (body(model=["m"]), "invalid_request", "body.model", "not empty"),
    (changed(body='{"model": "m"}'), "invalid_request", "body", "string that holds JSON"),
    (changed(body={"model": "m"}), "invalid_request", "body.messages", CHAT),
    (changed(body={"model": "m", "input": "x"}), "invalid_request", "body.messages", "embeddings"),
    (body(stream=True), "streaming_unsupported", "body.stream", "false"),
    (body(stream="yes"), "streaming_unsupported", "body.stream", "false"),
    (body(stream=1), "streaming_unsupported", "body.stream", "false"),
]


@pytest.mark.parametrize(("line", "code", "param", "said"), REFUSALS)
def test_a_fault_names_its_code_field_and_remedy(
    line: bytes, code: str, param: str | None, said: str
) -> None:
    fault = refused(line)
    assert (fault.code, fault.param) == (code, param)
    assert said in fault.message
    assert fault.excerpt is None or 0 < len(fault.excerpt) <= EXCERPT_CHARACTERS_MAX


@pytest.mark.parametrize("name", ["method", "url"])
def test_a_routed_line_is_told_what_is_missing(name: str) -> None:
    fault = refused(changed(**{name: ...}), ROUTED)
    assert (fault.code, fault.param) == ("missing_required_parameter", name)
    assert fault.message.startswith(f"Missing required parameter: '{name}'. It must be")


@pytest.mark.parametrize("rules", [LOOSE, ROUTED, ANY_ENDPOINT])
@pytest.mark.parametrize("compact", [True, False])
def test_a_url_may_lack_its_version_as_those_for_azure_do(rules: LineRules, compact: bool) -> None:
    line = changed(url="/chat/completions")
    if not compact:
        line = b" " + line  # Not the usual opening, so that it is examined field by field.
    assert accepted(line, rules).url == CHAT


def test_an_unknown_url_without_an_endpoint_names_all_known_ones() -> None:
    assert "/v1/embeddings" in refused(changed(url="/v2/x"), ANY_ENDPOINT).message


@pytest.mark.parametrize("fields", [{"stream": False}, {"stream": None}])
def test_a_body_may_say_that_it_does_not_stream(fields: dict[str, Any]) -> None:
    accepted(body(**fields))


def test_limits_are_inclusive() -> None:
    line = changed(custom_id="x" * 10)
    accepted(line, LineRules(CHAT, line_bytes_max=len(line), custom_id_bytes_max=10))
    assert refused(line, LineRules(CHAT, line_bytes_max=len(line) - 1)).code == "line_too_long"
    assert refused(line, LineRules(CHAT, custom_id_bytes_max=9)).code == "invalid_custom_id"


def test_an_excerpt_shows_the_place_of_the_fault() -> None:
    fault = refused(body(note="y" * 500).replace(b"}}", b", oops}}"))
    assert "oops" in (fault.excerpt or "")


@pytest.mark.parametrize(
    ("line", "marked"),
    [
        (changed(method="GET"), '"GET"'),
        (changed(url="/v2"), '"/v2"'),
        (changed(custom_id=5), "5"),
        (body(stream=True), "true"),
        (body(model=7, n=7), "7"),
        (changed().replace(b'"m"', b'"\xff"'), "�"),
        (body(note="y" * 500).replace(b"}}", b", oops}}"), "oops"),
    ],
)
def test_a_mark_shows_what_is_wrong(line: bytes, marked: str) -> None:
    fault = refused(line)
    assert fault.excerpt is not None
    assert fault.marked is not None
    assert fault.excerpt[slice(*fault.marked)] == marked


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"messages": []}, "fine-tuning example"),
        ({"custom_id": "a", "model": "m", "messages": []}, "bare request body"),
        ({"custom_id": "a", "params": {}}, "Anthropic"),
        ({"custom_id": "a", "response": {}}, "a result"),
    ],
)
def test_what_a_line_is_instead_is_named(fields: dict[str, Any], said: str) -> None:
    fault = refused(json.dumps(fields).encode())
    assert fault.code == "missing_required_parameter"
    assert said in fault.message


def test_a_fault_deep_in_a_body_is_found_at_any_depth_the_decoder_allows() -> None:
    for depth in range(850, 1100, 5):
        line = changed().replace(b"[]", b"[" * depth + b"]" * depth)
        checked = check(line)
        assert isinstance(checked, CheckedLine | Fault)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
BODIES = st.dictionaries(st.text(), JSON_VALUES, max_size=5).map(
    lambda fields: {**fields, "model": "m", "messages": [], "stream": False}
)
IDS = st.text(min_size=1, max_size=40)


@given(
    custom_id=IDS,
    request=BODIES,
    order=st.permutations(["custom_id", "method", "url", "body", "extra"]),
    ascii_only=st.booleans(),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]),
)
@example(
    '"body":{',
    {"model": "m", "messages": []},
    ["custom_id", "method", "url", "body", "extra"],
    True,
    (",", ":"),
)
def test_the_places_of_a_line_hold_what_was_written(
    custom_id: str,
    request: dict[str, Any],
    order: list[str],
    ascii_only: bool,
    separators: tuple[str, str],
) -> None:
    fields = GOOD | {"custom_id": custom_id, "body": request, "extra": [request, custom_id]}
    written = {name: fields[name] for name in order}
    line = json.dumps(written, ensure_ascii=ascii_only, separators=separators).encode()
    checked = accepted(line)
    token, slice_ = parts(line, checked)
    assert json.loads(token) == custom_id
    assert json.loads(slice_) == request
    assert checked.custom_id == custom_id.encode()


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_never_raises(line: bytes) -> None:
    assert not isinstance(check(line), CheckedLine)


@given(st.data())
def test_a_damaged_line_is_judged_as_json_judges_it(data: st.DataObject) -> None:
    """Whatever way a line is recognised, what is accepted is JSON and says the same to others."""
    line = bytearray(
        changed(custom_id="id", body={"model": "m", "messages": [1, "é", {"a": None}]})
    )
    position = data.draw(st.integers(0, len(line) - 1))
    line[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    checked = check(bytes(line))
    if isinstance(checked, CheckedLine):
        read = json.loads(line)
        token, request = parts(bytes(line), checked)
        assert json.loads(token) == read["custom_id"] == checked.custom_id.decode()
        assert json.loads(request) == read["body"]
        assert read["body"]["model"] == checked.model
