"""Faults: how often, and what a client gets to see."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from overnight.domain.errors import ConfigurationError
from overnight.sim import SimEngine, SimOptions, parse_faults
from overnight.sim import connection as module
from overnight.sim.connection import Request
from support.sim_client import Client, chat, post, until, with_engine

PATH = "/v1/chat/completions"


def always(kind: str) -> SimOptions:
    return SimOptions(faults=((kind, 1.0),))


def test_kinds_and_rates_are_read() -> None:
    assert parse_faults(["reset", "429=0.2", "503=0"]) == (("reset", 0.01), ("429", 0.2))
    assert parse_faults([]) == ()


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["explode"], "no fault 'explode': take reset, hang, slow, garbage, cut, or a status"),
        (["200"], "no fault '200'"),
        (["799"], "no fault '799'"),
        (["reset=often"], "such as 503=0.05, not 'reset=often'"),
        (["reset=1.5"], "between 0 and 1, not 1.5"),
        (["reset=nan"], "between 0 and 1, not nan"),
        (["reset=0.6", "hang=0.6"], "add up to 1.2"),
    ],
)
def test_what_can_not_be_is_told(texts: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        parse_faults(texts)


def test_each_kind_has_its_share_and_a_history_of_its_own() -> None:
    def history(seed: int) -> list[str | None]:
        options = SimOptions(error_rate=0.1, faults=(("429", 0.2), ("hang", 0.3)), seed=seed)
        engine = SimEngine(options)
        seen = []
        for n in range(2000):
            body = json.dumps(chat(f"prompt {n % 1000}")).encode()
            reply = engine.reply_to(Request(b"POST", PATH.encode(), body, keep_alive=True))
            seen.append(reply.fault or str(reply.status))
        return seen

    shares = Counter(history(1))
    assert set(shares) == {"200", "429", "500", "503", "hang"}
    assert abs(shares["429"] - 400) < 72
    assert abs(shares["hang"] - 600) < 82
    assert abs(shares["500"] + shares["503"] - 200) < 54
    assert history(1) == history(1) != history(2)
    assert history(1)[:1000] != history(1)[1000:], "a second attempt draws anew"


def test_a_status_is_answered_as_an_error() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        answer = await client.post(PATH, chat("x"))
        assert (answer.status, answer.error_code) == (429, "simulated_fault")
        assert answer.headers["retry-after"] == "1"
        assert engine.stats()["by_fault"] == {"429": 1}
        assert (await client.get("/v1/models")).status == 200, "pages have no faults"

    with_engine(test, always("429"))


def test_a_reset_is_a_reset() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        client.send(post(PATH, chat("x")))
        with pytest.raises(ConnectionResetError):
            await client.receive()
        assert engine.stats()["in_flight"] == 0

    with_engine(test, always("reset"))


def test_what_hangs_ends_with_its_client() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        client.send(post(PATH, chat("x")))
        await until(lambda: engine.stats()["in_flight"] == 1)
        assert engine.stats()["by_fault"] == {"hang": 1}
        client.writer.close()
        await until(lambda: engine.stats()["in_flight"] == 0)
        assert engine.stats()["by_status"] == {}

    with_engine(test, always("hang"))


def test_garbage_is_not_json() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        answer = await client.post(PATH, chat("x"))
        assert answer.status == 200
        with pytest.raises(json.JSONDecodeError):
            _ = answer.json
        assert (await client.post(PATH, chat("x"))).status == 200, "the connection goes on"

    with_engine(test, always("garbage"))


def test_a_cut_reply_ends_in_its_body() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        client.send(post(PATH, chat("x")))
        with pytest.raises(asyncio.IncompleteReadError) as error:
            await client.receive()
        assert error.value.expected is not None
        assert len(error.value.partial) == error.value.expected // 2 > 0

    with_engine(test, always("cut"))


@pytest.mark.parametrize("kind", ["garbage", "cut"])
def test_what_was_spoilt_is_no_answer(kind: str) -> None:
    """So that the same request again is not a repeated one."""

    async def test(engine: SimEngine, client: Client) -> None:
        client.send(post(PATH, chat("x")))
        await until(lambda: engine.stats()["by_fault"] == {kind: 1})
        await until(lambda: engine.stats()["in_flight"] == 0)
        engine.reply_to(Request(b"POST", PATH.encode(), json.dumps(chat("x")).encode(), True))
        stats = engine.stats()
        assert (stats["requests"], stats["repeated"], stats["generation_tokens"]) == (2, 0, 0)

    with_engine(test, always(kind))


def in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte by byte as before, but not at a hundred a second."""
    monkeypatch.setattr(module, "SLOW_BYTES_PER_SECOND", 1_000_000)


def test_a_slow_reply_comes_byte_by_byte_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    in_pieces(monkeypatch)
    whole: list[bytes] = []

    async def plain(engine: SimEngine, client: Client) -> None:
        whole.append((await client.post(PATH, chat("x"))).body)

    async def slow(engine: SimEngine, client: Client) -> None:
        client.send(post(PATH, chat("x")))
        assert len(await client.reader.read(1)) == 1
        assert len(await client.reader.read(1 << 16)) < len(whole[0])
        await client.reader.readuntil(b"}}")
        again = await client.post(PATH, chat("x"))
        assert again.body == whole[0]
        assert engine.stats()["repeated"] == 1, "slow or not, it was an answer"

    with_engine(plain)
    with_engine(slow, always("slow"))


def test_a_client_may_leave_a_slow_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        client.send(post(PATH, chat("x")))
        await client.reader.readexactly(2)
        client.writer.close()
        await until(lambda: engine.stats()["in_flight"] == 0)
        assert engine.stats()["by_status"] == {}

    with_engine(test, always("slow"))


def test_faults_can_be_changed_while_it_runs() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        assert (await client.get("/sim/faults")).json == {}
        assert (await client.post("/sim/faults", {"503": 1, "reset": 0})).json == {"503": 1.0}
        assert (await client.post(PATH, chat("x"))).status == 503
        assert (await client.post("/sim/faults", {})).json == {}
        assert (await client.post(PATH, chat("x"))).status == 200
        for wrong in (b"", b'{"\xff": 1}', {"explode": 1}, {"503": "often"}, {"503": 2}, []):
            answer = await client.post("/sim/faults", wrong)
            assert (answer.status, answer.error_code) == (400, "invalid_value")

    with_engine(test)


Test = Callable[[SimEngine, Client], Awaitable[None]]


@pytest.mark.parametrize("kind", ["reset", "hang", "cut", "slow"])
def test_a_batch_gets_its_place_back_after_a_fault(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_pieces(monkeypatch)

    async def test(engine: SimEngine, client: Client) -> None:
        client.send(post(PATH, chat("x")))
        await until(lambda: engine.stats()["by_fault"] == {kind: 1})
        client.writer.close()
        await until(lambda: engine.stats()["in_flight"] == 0)
        assert "vllm:num_requests_running{" in engine._metrics.text(engine._gauges())
        assert engine._gauges()[:3] == (0, 0, 0.0)

    options = SimOptions(
        faults=((kind, 1.0),), max_num_seqs=1, kv_cache_tokens=640, tokens_per_second=10_000
    )
    with_engine(test, options)
