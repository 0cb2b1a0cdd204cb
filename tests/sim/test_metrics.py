"""`/metrics`, as a scraper reads it."""

import pytest

from overnight.sim import SimEngine, SimOptions
from overnight.sim.metrics import MOST_PENDING, Gauges, Metrics
from support.sim_client import Client, chat, post, until, with_engine
from support.sim_metrics import Family, read_metrics, value_of

PATH = "/v1/chat/completions"
NOTHING = Gauges(0, 0, 0.0, 0, 0, 0)


async def scrape(engine: SimEngine) -> dict[str, Family]:
    """Over a connection of its own."""
    import asyncio

    assert engine._server is not None
    port = engine._server.sockets[0].getsockname()[1]
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    try:
        answer = await client.get("/metrics")
    finally:
        client.writer.close()
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return read_metrics(answer.body.decode())


def test_names_are_those_of_vllm() -> None:
    families = read_metrics(Metrics("m").text(NOTHING))
    assert {name.removeprefix("vllm:"): family.kind for name, family in families.items()} == {
        "num_requests_running": "gauge",
        "num_requests_waiting": "gauge",
        "kv_cache_usage_perc": "gauge",
        "prefix_cache_queries_total": "counter",
        "prefix_cache_hits_total": "counter",
        "num_preemptions_total": "counter",
        "prompt_tokens_total": "counter",
        "generation_tokens_total": "counter",
        "request_success_total": "counter",
        "time_to_first_token_seconds": "histogram",
        "inter_token_latency_seconds": "histogram",
        "request_time_per_output_token_seconds": "histogram",
        "e2e_request_latency_seconds": "histogram",
        "request_queue_time_seconds": "histogram",
        "request_inference_time_seconds": "histogram",
        "request_prefill_time_seconds": "histogram",
        "request_decode_time_seconds": "histogram",
        "request_prompt_tokens": "histogram",
        "request_generation_tokens": "histogram",
    }
    for family in families.values():
        for _, labels in family.samples:
            assert {("engine", "0"), ("model_name", "m")} <= set(labels)


def test_a_model_may_have_any_name() -> None:
    (name,) = {
        dict(labels)["model_name"]
        for family in read_metrics(Metrics('a "b"\\\n').text(NOTHING)).values()
        for _, labels in family.samples
    }
    assert name == r"a \"b\"\\\n"


def test_counts_what_was_asked_and_answered() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        for limit in (3, 5, None):
            await client.post(PATH, chat("one two three four", max_tokens=limit))
        await client.post("/v1/embeddings", {"model": "sim", "input": "one two"})
        await client.post(PATH, b"no JSON")
        seen = await scrape(engine)
        tokens = engine.stats()["generation_tokens"]
        assert tokens > 8
        assert value_of(seen["vllm:prompt_tokens_total"]) == 14
        assert value_of(seen["vllm:generation_tokens_total"]) == tokens
        success = seen["vllm:request_success_total"]
        assert value_of(success, finished_reason="length") == 2
        assert value_of(success, finished_reason="stop") == 2
        assert value_of(success, finished_reason="abort") == 0
        assert value_of(seen["vllm:request_prompt_tokens"], "_bucket", le="2.0") == 1
        assert value_of(seen["vllm:request_prompt_tokens"], "_bucket", le="5.0") == 4
        assert value_of(seen["vllm:time_to_first_token_seconds"], "_count") == 3
        assert value_of(seen["vllm:inter_token_latency_seconds"], "_count") == tokens - 3
        assert value_of(seen["vllm:e2e_request_latency_seconds"], "_sum") == 0

    with_engine(test)


def test_gauges_show_who_runs_and_who_waits() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        client.send(post(PATH, chat("a b c")))
        await until(lambda: engine.stats()["in_flight"] == 1)
        seen = await scrape(engine)
        assert value_of(seen["vllm:num_requests_running"]) == 1
        assert value_of(seen["vllm:num_requests_waiting"]) == 0
        assert value_of(seen["vllm:kv_cache_usage_perc"]) == 0.25
        client.writer.close()
        await until(lambda: engine.stats()["in_flight"] == 0)
        seen = await scrape(engine)
        assert value_of(seen["vllm:request_success_total"], finished_reason="abort") == 1
        assert value_of(seen["vllm:num_requests_running"]) == 0
        assert value_of(seen["vllm:kv_cache_usage_perc"]) == 0

    with_engine(test, SimOptions(latency_ms=(60_000, 60_000), kv_cache_tokens=64))


def test_times_are_those_of_the_request() -> None:
    metrics = Metrics("m")
    metrics.finished((100, 11, False, 0.5, 2.0, 7.0))
    seen = read_metrics(metrics.text(NOTHING))
    sums = {
        name.removeprefix("vllm:"): value_of(family, "_sum")
        for name, family in seen.items()
        if name.endswith("_seconds")
    }
    assert sums == {
        "time_to_first_token_seconds": 2.0,
        "inter_token_latency_seconds": 5.0,
        "request_time_per_output_token_seconds": 0.5,
        "e2e_request_latency_seconds": 7.0,
        "request_queue_time_seconds": 0.5,
        "request_inference_time_seconds": 6.5,
        "request_prefill_time_seconds": 1.5,
        "request_decode_time_seconds": 5.0,
    }


@pytest.mark.parametrize("requests", [1, MOST_PENDING - 1, MOST_PENDING, 2 * MOST_PENDING + 1])
def test_none_is_lost_however_seldom_somebody_asks(requests: int) -> None:
    metrics = Metrics("m")
    for _ in range(requests):
        metrics.finished((3, 2, True, 0.0, 0.0, 0.0))
    assert (metrics.prompt_tokens, metrics.tokens) == (3 * requests, 2 * requests)
    success = read_metrics(metrics.text(NOTHING))["vllm:request_success_total"]
    assert value_of(success, finished_reason="length") == requests
