"""Lines that are judged together are judged as they would be one by one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.domain.line import AlikeLines, CheckedLine, LineChecker
from overnight.domain.request import LineRules

CHAT = "/v1/chat/completions"
ROUTE = {"method": "POST", "url": CHAT}
BODY: dict[str, Any] = {"model": "m", "messages": []}


def line(custom_id: object = "a", body: object = BODY, **fields: object) -> bytes:
    return json.dumps({"custom_id": custom_id, **fields, "body": body}).encode()


GOOD = line(**ROUTE)
UNFIT = {
    "blank": b"",
    "cut short": GOOD[:-1],
    "shorter than an opening": b"{}",
    "not JSON": GOOD[:-2] + b",}}",
    "a second body": GOOD[:-1] + b', "body": {}}',
    "a body that is no object": line(body=[], **ROUTE),
    "a body in a list": GOOD.replace(b'"body": {', b'"body": [{'),
    "blanks before the body": GOOD.replace(b'"body": {', b'"body":  {'),
    "blanks behind the body": GOOD[:-1] + b" }",
    "another key": GOOD.replace(b"custom_id", b"customIid"),
    "another order": json.dumps({"body": BODY, "custom_id": "a"}).encode(),
    "a number for an id": line(7, **ROUTE),
    "no id": line("", **ROUTE),
    "a long id": line("a" * 513, **ROUTE),
    "an escape in the id": line('a"b', **ROUTE),
    "a control character in the id": GOOD.replace(b'"a"', b'"\x01"'),
    "a quote where the id is as long as usual": GOOD.replace(b'"a"', b'"""'),
    "fields in the place of the id": GOOD.replace(b'"a"', b'"a", "x": "b"'),
    "another url": line(method="POST", url="/v1/completions"),
    "no url": line(),
    "no model": line(body={"messages": []}, **ROUTE),
    "an empty model": line(body=BODY | {"model": ""}, **ROUTE),
    "streaming": line(body=BODY | {"stream": True}, **ROUTE),
    "no messages": line(body={"model": "m"}, **ROUTE),
    "not UTF-8": GOOD.replace(b"[]", b'["\xff"]'),
    "too deep": GOOD.replace(b"[]", b"[" * 5_000 + b"]" * 5_000),
}


def alike(lines: list[bytes], rules: LineRules = LineRules(CHAT)) -> AlikeLines | None:
    return LineChecker(rules).check_alike(lines)


def one_by_one(lines: list[bytes]) -> list[CheckedLine]:
    check = LineChecker(LineRules(CHAT)).check
    checked = [check(line, number) for number, line in enumerate(lines, 1)]
    assert all(isinstance(each, CheckedLine) for each in checked)
    return [each for each in checked if isinstance(each, CheckedLine)]


def rows(found: AlikeLines) -> list[CheckedLine]:
    columns = (found.models, found.custom_ids, found.body_offsets, found.body_bytes)
    return [
        CheckedLine(model, custom_id, start, size, found.id_offset, len(custom_id) + 2, found.url)
        for model, custom_id, start, size in zip(*columns, strict=True)
    ]


@pytest.mark.parametrize("fields", [ROUTE, {}, {"url": CHAT}], ids=["routed", "bare", "url"])
@pytest.mark.parametrize("compact", [False, True])
def test_lines_of_one_program_are_taken_together(fields: dict[str, str], compact: bool) -> None:
    ids = ["a", "b", "längere", "c" * 512, "9", "10", "}}", "body"]
    lines = [line(f"{name}", BODY | {"model": name[0]}, **fields) for name in ids]
    separators = (",", ":") if compact else (", ", ": ")
    for number, one in enumerate(lines):
        written = json.dumps(json.loads(one), ensure_ascii=False, separators=separators)
        lines[number] = written.encode()
    found = alike(lines)
    assert found is not None
    assert rows(found) == one_by_one(lines)


@pytest.mark.parametrize("unfit", UNFIT.values(), ids=UNFIT.keys())
@pytest.mark.parametrize("before", [0, 1, 3])
def test_one_that_is_not_sure_sends_all_to_be_looked_at(unfit: bytes, before: int) -> None:
    assert alike([GOOD] * before + [GOOD]) is not None
    assert alike([GOOD] * before + [unfit, GOOD]) is None


def test_no_lines_are_no_alike_lines() -> None:
    assert alike([]) is None


def test_limits_hold_for_each() -> None:
    lines = [GOOD, line("ab", **ROUTE)]
    assert alike(lines, LineRules(CHAT, line_bytes_max=len(lines[1]))) is not None
    assert alike(lines, LineRules(CHAT, line_bytes_max=len(lines[1]) - 1)) is None
    assert alike(lines, LineRules(CHAT, custom_id_bytes_max=1)) is None


PIECES = st.lists(
    st.sampled_from([GOOD, line("ab", **ROUTE), line("é", **ROUTE), *UNFIT.values()]), max_size=4
)
SPLICES = st.builds(lambda at, size, by: (at, size, by), *[st.integers(0, 120)] * 2, st.binary())


@given(PIECES, st.lists(SPLICES, max_size=2))
def test_whatever_is_taken_together_would_be_taken_one_by_one(
    pieces: list[bytes], splices: list[tuple[int, int, bytes]]
) -> None:
    lines = [GOOD, *pieces]
    for at, size, by in splices:
        one = lines[at % len(lines)]
        lines[at % len(lines)] = one[:at] + by.replace(b"\n", b"") + one[at + size :]
    found = alike(lines)
    if found is not None:
        assert rows(found) == one_by_one(lines)
