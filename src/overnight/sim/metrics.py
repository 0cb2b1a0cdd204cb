"""What `/metrics` says, under vLLM's names, in Prometheus' text format 0.0.4.

Names, labels and buckets are those of vLLM's V1 engine (docs.vllm.ai, Production Metrics); those
it has no answer to here are left out. A request's figures are only put on a list as it ends and
counted up when somebody asks, many equal ones at once: that keeps it nearly free.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

MOST_PENDING = 10_000

Buckets = tuple[float, ...]

SECONDS: Buckets = (
    0.3,
    0.5,
    0.8,
    1.0,
    1.5,
    2.0,
    2.5,
    5.0,
    10.0,
    15.0,
    20.0,
    30.0,
    40.0,
    50.0,
    60.0,
)
SECONDS += (120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0)
FIRST_TOKEN_SECONDS: Buckets = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
)
FIRST_TOKEN_SECONDS += (2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0)
TOKEN_SECONDS: Buckets = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
TOKEN_SECONDS += (2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
TOKENS = tuple(float(digit * 10**power) for power in range(6) for digit in (1, 2, 5))

REASONS = ("stop", "length", "abort", "error")


Finished = tuple[int, int, bool, float, float, float]
"""A request that ran: tokens of its prompt and its reply, whether a limit cut that short, and, in
seconds since it arrived, when it was admitted, had its first token and was done. Not a class: one
is made for each.
"""


class Gauges(NamedTuple):
    running: int
    waiting: int
    kv_cache_usage: float
    preemptions: int
    prefix_queries: int
    prefix_hits: int


class Histogram:
    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int) -> None:
        self._counts[bisect_left(self._buckets, value)] += times
        self._sum += value * times

    def lines(self, name: str, labels: str) -> Iterable[str]:
        seen = 0
        for bucket, count in zip((*self._buckets, "+Inf"), self._counts, strict=True):
            seen += count
            yield f'{name}_bucket{{{labels},le="{bucket}"}} {seen}'
        yield f"{name}_count{{{labels}}} {seen}"
        yield f"{name}_sum{{{labels}}} {self._sum}"


class Metrics:
    """`model` is the label of all of them, as for vLLM the first name of its model."""

    def __init__(self, model: str) -> None:
        escaped = model.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        self._labels = f'engine="0",model_name="{escaped}"'
        self._pending: list[Finished] = []
        self._reasons: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self._prompt_tokens = self._tokens = 0
        self._histograms = {
            "prompt_tokens": Histogram(TOKENS),
            "generation_tokens": Histogram(TOKENS),
            "first_token": Histogram(FIRST_TOKEN_SECONDS),
            "per_token": Histogram(TOKEN_SECONDS),
            "between_tokens": Histogram(TOKEN_SECONDS),
            "whole": Histogram(SECONDS),
            "queue": Histogram(SECONDS),
            "inference": Histogram(SECONDS),
            "prefill": Histogram(SECONDS),
            "decode": Histogram(SECONDS),
        }

    @property
    def prompt_tokens(self) -> int:
        self._count_pending()
        return self._prompt_tokens

    @property
    def tokens(self) -> int:
        self._count_pending()
        return self._tokens

    def finished(self, request: Finished) -> None:
        self._pending.append(request)
        if len(self._pending) >= MOST_PENDING:
            self._count_pending()

    def aborted(self) -> None:
        self._reasons["abort"] += 1

    def text(self, gauges: Gauges) -> str:
        self._count_pending()
        lines: list[str] = []
        for name, value, says in (
            ("num_requests_running", gauges.running, "Requests in the batch."),
            ("num_requests_waiting", gauges.waiting, "Requests waiting for the batch."),
            ("kv_cache_usage_perc", gauges.kv_cache_usage, "KV cache in use; 1 is all of it."),
        ):
            lines += self._family(name, "gauge", says)
            lines.append(f"vllm:{name}{{{self._labels}}} {float(value)}")
        for name, value, says in (
            ("prefix_cache_queries", gauges.prefix_queries, "Prompt tokens looked up."),
            ("prefix_cache_hits", gauges.prefix_hits, "Prompt tokens found in the cache."),
            ("num_preemptions", gauges.preemptions, "Sequences sent back for lack of memory."),
            ("prompt_tokens", self._prompt_tokens, "Prompt tokens processed."),
            ("generation_tokens", self._tokens, "Tokens generated."),
        ):
            lines += self._family(f"{name}_total", "counter", says)
            lines.append(f"vllm:{name}_total{{{self._labels}}} {float(value)}")
        lines += self._family("request_success_total", "counter", "Requests, by why they ended.")
        for reason, value in self._reasons.items():
            labels = f'{self._labels},finished_reason="{reason}"'
            lines.append(f"vllm:request_success_total{{{labels}}} {float(value)}")
        for name, key, says in _HISTOGRAMS:
            lines += self._family(name, "histogram", says)
            lines += self._histograms[key].lines(f"vllm:{name}", self._labels)
        return "\n".join([*lines, ""])

    def _family(self, name: str, kind: str, says: str) -> list[str]:
        return [f"# HELP vllm:{name} {says}", f"# TYPE vllm:{name} {kind}"]

    def _count_pending(self) -> None:
        requests, self._pending = self._pending, []
        for request, times in Counter(requests).items():
            prompt_tokens, tokens, cut, *_ = request
            self._reasons["length" if cut else "stop"] += times
            self._prompt_tokens += prompt_tokens * times
            self._tokens += tokens * times
            self._observe(request, times)

    def _observe(self, request: Finished, times: int) -> None:
        prompt_tokens, tokens, _, admitted, first_token, done = request
        seen = self._histograms
        seen["prompt_tokens"].observe(prompt_tokens, times)
        seen["generation_tokens"].observe(tokens, times)
        seen["whole"].observe(done, times)
        seen["queue"].observe(admitted, times)
        seen["inference"].observe(done - admitted, times)
        seen["prefill"].observe(first_token - admitted, times)
        seen["decode"].observe(done - first_token, times)
        if tokens:
            seen["first_token"].observe(first_token, times)
        if tokens > 1:
            each = (done - first_token) / (tokens - 1)
            seen["per_token"].observe(each, times)
            seen["between_tokens"].observe(each, times * (tokens - 1))


_HISTOGRAMS = (
    ("time_to_first_token_seconds", "first_token", "Until the first token."),
    ("inter_token_latency_seconds", "between_tokens", "Between two tokens."),
    ("request_time_per_output_token_seconds", "per_token", "Mean between a request's tokens."),
    ("e2e_request_latency_seconds", "whole", "From arrival to end."),
    ("request_queue_time_seconds", "queue", "Waiting for the batch."),
    ("request_inference_time_seconds", "inference", "In the batch."),
    ("request_prefill_time_seconds", "prefill", "In the batch, until the first token."),
    ("request_decode_time_seconds", "decode", "From the first token to the last."),
    ("request_prompt_tokens", "prompt_tokens", "Tokens of a prompt."),
    ("request_generation_tokens", "generation_tokens", "Tokens of a reply."),
)
