"""Faults, latency and counting: what depends on the attempt."""

import json
from collections import Counter

from overnight.sim import SimEngine, SimOptions
from overnight.sim.connection import Reply, Request
from support.sim_client import Client, chat, post, until, with_engine

PATH = "/v1/chat/completions"
N = 2000


def attempt(engine: SimEngine, body: object) -> Reply:
    """Asks the engine without a socket, so that a delay is a number and not a wait."""
    data = json.dumps(body).encode()
    reply = engine.reply_to(Request(b"POST", PATH.encode(), data, keep_alive=True))
    engine.ended(reply, sent=True)
    return reply


def test_the_share_of_faults_is_the_error_rate() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        for start in range(0, N, 50):
            client.send(b"".join(post(PATH, chat(f"prompt {start + n}")) for n in range(50)))
            for _ in range(50):
                answer = await client.receive()
                statuses[answer.status] += 1
                assert answer.status == 200 or answer.error_code == "simulated_fault"
        assert engine.stats()["by_status"] == {str(s): n for s, n in sorted(statuses.items())}

    statuses = Counter[int]()
    with_engine(test, SimOptions(error_rate=0.2, seed=3))
    # Four standard deviations of 2,000 draws are 72 around 400, and 40 around its half.
    assert abs(statuses[500] + statuses[503] - 400) < 72
    assert abs(statuses[500] - statuses[503]) < 80
    assert set(statuses) == {200, 500, 503}


def test_a_retried_request_can_succeed_and_faults_repeat_with_the_seed() -> None:
    def history(seed: int) -> list[list[int]]:
        engine = SimEngine(SimOptions(error_rate=0.5, seed=seed))
        return [[attempt(engine, chat(f"p{n}")).status for _ in range(8)] for n in range(50)]

    assert history(1) == history(1) != history(2)
    assert sum(200 in statuses for statuses in history(1)) >= 48
    assert any(statuses[0] != 200 for statuses in history(1))


def test_always_and_never_failing_are_exact() -> None:
    always, never = SimEngine(SimOptions(error_rate=1.0)), SimEngine(SimOptions(error_rate=0.0))
    assert all(attempt(always, chat(str(n))).status != 200 for n in range(500))
    assert all(attempt(never, chat(str(n))).status == 200 for n in range(500))


def test_latency_is_uniform_between_its_bounds() -> None:
    engine = SimEngine(SimOptions(latency_ms=(20, 60)))
    delays = [attempt(engine, chat(str(n))).delay_seconds for n in range(N)]
    assert 0.020 <= min(delays) < 0.021
    assert 0.059 < max(delays) <= 0.060
    assert abs(sum(delays) / N - 0.040) < 0.001
    assert attempt(engine, chat("0")).delay_seconds != delays[0], "a second attempt draws anew"


def test_writing_takes_time_by_the_token() -> None:
    engine = SimEngine(SimOptions(latency_ms=(100, 100), tokens_per_second=50))
    reply = attempt(engine, chat("x", max_tokens=10))
    assert abs(reply.delay_seconds - (0.100 + 10 / 50)) < 1e-9
    assert SimEngine().reply_to(Request(b"GET", b"/health", b"", True)).delay_seconds == 0


def test_a_fault_and_a_refusal_write_no_tokens() -> None:
    engine = SimEngine(SimOptions(error_rate=1.0, tokens_per_second=1))
    assert attempt(engine, chat("x")).delay_seconds == 0
    engine = SimEngine(SimOptions(tokens_per_second=1))
    assert attempt(engine, {"model": "sim"}).delay_seconds == 0


def test_repeats_count_only_after_a_success() -> None:
    engine = SimEngine(SimOptions(error_rate=0.5))
    repeated = 0
    for n in range(100):
        answered = False
        for _ in range(4):
            repeated += answered
            answered |= attempt(engine, chat(str(n))).status == 200
    stats = engine.stats()
    assert (stats["requests"], stats["distinct"]) == (400, 100)
    assert stats["repeated"] == repeated > 0


def test_what_its_client_did_not_wait_for_was_not_answered() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        client.send(post(PATH, chat("long")))
        await until(lambda: engine.stats()["in_flight"] == 1)
        client.writer.close()
        await until(lambda: engine.stats()["in_flight"] == 0)
        stats = engine.stats()
        assert (stats["requests"], stats["by_status"]) == (1, {})
        assert attempt(engine, chat("long")).status == 200
        assert engine.stats()["repeated"] == 0

    with_engine(test, SimOptions(latency_ms=(60_000, 60_000)))


def test_stats_over_http() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        first = await client.post(PATH, chat("x"))
        await client.post(PATH, chat("x"))
        await client.post("/v1/embeddings", {"model": "nope", "input": "x"})
        assert (await client.get("/sim/stats")).json == {
            "requests": 3,
            "distinct": 2,
            "repeated": 1,
            "in_flight": 0,
            "most_in_flight": 1,
            "prompt_tokens": 2,
            "generation_tokens": 2 * len(first.json["choices"][0]["message"]["content"].split()),
            "by_status": {"200": 2, "404": 1},
            "by_endpoint": {PATH: 2, "/v1/embeddings": 1},
            "by_fault": {},
        }
        assert engine.requests_served == {PATH: 2, "/v1/embeddings": 1}

    with_engine(test)
