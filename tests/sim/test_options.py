from typing import Any

import pytest

from overnight.cli.sim import parse_latency
from overnight.domain.errors import ConfigurationError
from overnight.sim import SimOptions


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"models": ()}, "at least one model"),
        ({"models": ("a", "")}, "at least one model"),
        ({"latency_ms": (5.0, 4.0)}, "not 5.0-4.0"),
        ({"latency_ms": (0.0, float("inf"))}, "not 0.0-inf"),
        ({"latency_ms": (float("nan"), float("nan"))}, "not nan"),
        ({"tokens_per_second": 0.0}, "above 0"),
        ({"error_rate": 1.5}, "between 0 and 1, not 1.5"),
        ({"seed": -1}, "not -1"),
    ],
)
def test_refuses_what_makes_no_sense(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        SimOptions(**wrong)


@pytest.mark.parametrize(
    ("text", "expected"), [("0", (0, 0)), ("20", (20, 20)), ("1.5-80", (1.5, 80))]
)
def test_latency_is_one_number_or_a_range(text: str, expected: tuple[float, float]) -> None:
    assert parse_latency(text) == expected


@pytest.mark.parametrize("text", ["", "fast", "5-", "-5", "1-2-3", "10ms"])
def test_a_wrong_latency_is_told_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match="such as 20 or 20-80"):
        parse_latency(text)
