"""What people write that is not JSON, and what they are told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.domain.line import LineChecker
from overnight.domain.request import Fault, LineRules

CHECKER = LineChecker(LineRules(None))


@pytest.mark.parametrize(
    ("line", "said", "marked"),
    [
        ('{"a": 1},', "ends with a comma", ","),
        ('{"a": 1}, ', "ends with a comma", ","),
        ('{"a": 1} {"b": 2}', "its own line", "{"),
        ('{"a": 1}, {"b": 2}', "its own line", ","),
        ('{"a": 1}}', "has ended", "}"),
        ('{"a": NaN}', "a number or null", "NaN"),
        ('{"a": -Infinity}', "a number or null", "-Infinity"),
        ('{"a": None}', "json.dumps", "None"),
        ('{"a": True}', "json.dumps", "True"),
        ("{'a': 1}", "double quotes", "'"),
        ("{“a”: 1}", "typographic", "“"),
        ("{a: 1}", "names need double quotes", "a"),
        ('{"a": 1,}', "comma before", "}"),
        ('{"a": [1,]}', "comma before", "]"),
        ('{"a": "\\d"}', "backslash", "d"),
        ('{"a": 1 // one', "comments", "/"),
        ('{"a": // one', "comments", "/"),
        ('{"a": "x\ty"}', "as \\t", "�"),
        ('{"a": "x', "ends too early", ""),
        ('{"a": "\\ud83d"}', "surrogate", "\\ud83d"),
        ('{"a": "\\ude00"}', "surrogate", "\\ude00"),
        ('\ufeff{"a": 1}', "byte order mark", "�"),
        ('{"a": undefined}', "invalid character", "undefined"),
        ("nonsense", "invalid character", "nonsense"),
    ],
)
def test_a_line_that_is_not_json(line: str, said: str, marked: str) -> None:
    fault = CHECKER.check(line.encode(), 1)
    assert isinstance(fault, Fault)
    assert fault.code == "invalid_json_line"
    assert fault.message.startswith("This line is not parseable as valid JSON: ")
    assert said in fault.message
    assert fault.excerpt is not None
    assert fault.marked is not None
    assert fault.excerpt[slice(*fault.marked)] == marked


@given(
    st.text(max_size=150),
    st.sampled_from(["}", "x", ",", "'", "\\", "“", "{", "\x00", "NaN"]),
    st.integers(0, 200),
)
def test_a_mark_is_always_within_reach(text: str, wrong: str, place: int) -> None:
    line = json.dumps({"custom_id": text, "body": {}}, ensure_ascii=False)
    fault = CHECKER.check((line[:place] + wrong + line[place:]).encode(), 1)
    assert isinstance(fault, Fault)
    if fault.marked is not None:
        start, end = fault.marked
        assert fault.excerpt is not None
        assert 0 <= start < end <= len(fault.excerpt) + 1
        assert fault.excerpt.isprintable()
