"""What a survey counts of a file's requests."""

import json
from typing import Any

import pytest

from overnight.domain.line import CheckedLine, LineChecker
from overnight.domain.request import LineRules
from overnight.service.survey import Survey

CHECKER = LineChecker(LineRules(None))


def surveyed(*bodies: dict[str, Any]) -> Survey:
    survey = Survey()
    for number, body in enumerate(bodies, 1):
        line = json.dumps({"custom_id": f"{number}", "body": {"model": "m"} | body}).encode()
        checked = CHECKER.check(line, number)
        assert isinstance(checked, CheckedLine)
        survey.look_at(number, line, checked)
    return survey


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"messages": [{"role": "user", "content": "a" * 40}]}, 10),
        ({"messages": [{"role": "system", "content": "a" * 20}, {"content": "b" * 20}]}, 10),
        ({"messages": [{"content": [{"type": "text", "text": "a" * 40}, {"type": "x"}]}]}, 10),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": []}]}, 0),
        ({"messages": [{"content": "日" * 40}]}, 30),
        ({"prompt": "a" * 40}, 10),
        ({"prompt": ["a" * 20, "b" * 20]}, 10),
        ({"prompt": [1, 2, 3]}, 3),
        ({"prompt": [[1, 2], [3]]}, 3),
        ({"input": "a" * 40}, 10),
        ({"input": ["a" * 20, "b" * 20]}, 10),
        ({"messages": "odd"}, 0),
        ({"messages": [{"content": 5}]}, 0),
    ],
)
def test_prompt_tokens_are_estimated_from_all_texts(body: dict[str, Any], tokens: int) -> None:
    assert surveyed(body).prompt_tokens == tokens


def test_brackets_as_deep_as_the_checker_takes_them_are_no_texts() -> None:
    survey = Survey()
    line = json.dumps({"custom_id": "1", "body": {"model": "m", "prompt": "a" * 40}}).encode()
    line = line.replace(b'"model"', b'"x": ' + 900 * b"[" + 900 * b"]" + b', "model"')
    checked = CHECKER.check(line, 1)
    assert isinstance(checked, CheckedLine)

    def look_from(depth: int) -> None:
        look_from(depth - 1) if depth else survey.look_at(1, line, checked)

    look_from(150)
    assert survey.longest_line == 1


def test_bodies_that_occur_again_are_counted() -> None:
    survey = surveyed(*({"prompt": text} for text in "abacaa"))
    assert survey.repeated_bodies() == 3


def test_the_longest_line_is_the_first_of_that_length() -> None:
    survey = surveyed({"prompt": "a"}, {"prompt": "abc"}, {"prompt": "cba"})
    assert survey.longest_line == 2
