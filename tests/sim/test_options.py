from typing import Any

import pytest

from overnight.cli.sim import description, parse_latency, parse_reply_tokens, summary
from overnight.domain.errors import ConfigurationError
from overnight.sim import SimOptions, Stats


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"models": ()}, "at least one model"),
        ({"models": ("a", "")}, "at least one model"),
        ({"latency_ms": (5.0, 4.0)}, "not 5-4"),
        ({"latency_ms": (0.0, float("inf"))}, "not 0-inf"),
        ({"latency_ms": (float("nan"), float("nan"))}, "not nan"),
        ({"tokens_per_second": 0.0}, "above 0"),
        ({"error_rate": 1.5}, "between 0 and 1, not 1.5"),
        ({"seed": -1}, "not -1"),
        ({"prefill_tokens_per_second": 0.0}, "prefill tokens per second must be above 0"),
        ({"total_tokens_per_second": 100.0}, "need tokens per second"),
        (
            {"tokens_per_second": 200.0, "total_tokens_per_second": 100.0},
            "can not be less than that",
        ),
        ({"max_num_seqs": 0}, "1 or more, not 0"),
        ({"max_model_len": 1}, "2 or more, not 1"),
        ({"kv_cache_tokens": 15}, "blocks of 16 tokens, 15 are none"),
        ({"kv_cache_tokens": 47, "max_model_len": 40}, r"\(40\) must fit into the KV cache \(47\)"),
        ({"reply_tokens": (0, 5)}, "1 <= LO <= HI, not 0-5"),
        ({"reply_tokens": (6, 5)}, "not 6-5"),
        ({"faults": (("explode", 0.1),)}, "no fault 'explode'"),
        ({"faults": (("503", 0.6),), "error_rate": 0.6}, "add up to 1.2, more than 1"),
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


@pytest.mark.parametrize(("text", "expected"), [("7", (7, 7)), ("5-80", (5, 80))])
def test_the_length_of_replies_is_one_number_or_a_range(
    text: str, expected: tuple[int, int]
) -> None:
    assert parse_reply_tokens(text) == expected


@pytest.mark.parametrize("text", ["", "long", "5-", "1.5"])
def test_a_wrong_length_is_told_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match="such as 200 or 100-500"):
        parse_reply_tokens(text)


def test_a_cache_limits_the_context_by_whole_blocks() -> None:
    assert SimOptions().context_tokens is None
    assert SimOptions(kv_cache_tokens=47).context_tokens == 32
    assert SimOptions(kv_cache_tokens=47, max_model_len=20).context_tokens == 20


def test_all_that_is_simulated_is_said() -> None:
    options = SimOptions(
        latency_ms=(5, 20),
        tokens_per_second=50,
        total_tokens_per_second=2500,
        prefill_tokens_per_second=1e5,
        max_num_seqs=256,
        kv_cache_tokens=40_000,
        max_model_len=8192,
        reply_tokens=(300, 300),
        error_rate=0.01,
        faults=(("hang", 0.001),),
    )
    assert description(options) == [
        (
            "speed",
            "5 to 20 ms, reads 100,000 tokens/s, writes 50 tokens/s alone, up to 2,500 in all",
        ),
        ("batch", "256 requests at once, others wait"),
        ("memory", "KV cache of 40,000 tokens"),
        ("context", "8,192 tokens of prompt and reply"),
        ("replies", "300 tokens long"),
        ("faults", "500 or 503 0.01, hang 0.001"),
    ]
    assert description(SimOptions()) == [("speed", "answers at once")]


def test_the_end_is_summed_up() -> None:
    stats: Stats = {
        "requests": 1200,
        "distinct": 1100,
        "repeated": 3,
        "in_flight": 0,
        "most_in_flight": 8,
        "prompt_tokens": 50_000,
        "generation_tokens": 4000,
        "by_status": {"200": 1190, "503": 6},
        "by_endpoint": {},
        "by_fault": {"reset": 4, "503": 6},
    }
    assert summary(stats).splitlines() == [
        "1,200 requests; answered: 1,190 with 200, 6 with 503.",
        "3 of them had had their answer before.",
        "50,000 tokens read, 4,000 written.",
        "Faults: 503 6, reset 4.",
    ]
