"""What the engine answers."""

import base64
import math
import struct
from typing import Any

import pytest

from overnight.sim import SimEngine, SimOptions
from support.sim_client import Answered, Client, chat, post, with_engine

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
TWO_MODELS = SimOptions(models=("sim", "other"))


def ask(path: str, body: object, options: SimOptions | None = None) -> Answered:
    """From a fresh engine."""
    answers = []

    async def test(engine: SimEngine, client: Client) -> None:
        answers.append(await client.post(path, body))

    with_engine(test, options)
    return answers[0]


def test_chat() -> None:
    answer = ask(CHAT, chat("Why is the night sky dark, after all?"))
    assert answer.status == 200
    assert answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/json"
    reply = answer.json
    assert (reply["object"], reply["model"]) == ("chat.completion", "sim")
    (choice,) = reply["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["role"] == "assistant"
    text = choice["message"]["content"]
    assert "“Why is the night sky dark, after all”" in text
    assert reply["usage"] == {
        "prompt_tokens": 8,
        "completion_tokens": len(text.split()),
        "total_tokens": 8 + len(text.split()),
    }


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_chat_stops_at_the_limit(limit: str) -> None:
    reply = ask(CHAT, chat("Tell me all of it", **{limit: 3})).json
    assert len(reply["choices"][0]["message"]["content"].split()) == 3
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == 3


def test_chat_takes_parts_and_any_text() -> None:
    parts = [{"type": "text", "text": 'A "quoted"\n🌙'}, {"type": "image_url", "image_url": {}}]
    messages = [{"role": "assistant", "content": None}, {"role": "user", "content": parts}]
    answer = ask(CHAT, {"model": "sim", "messages": messages})
    assert '“A "quoted" 🌙”' in answer.json["choices"][0]["message"]["content"]


def test_completions_answer_each_prompt() -> None:
    reply = ask(COMPLETIONS, {"model": "sim", "prompt": ["first", "second", [1, 2]]}).json
    assert reply["object"] == "text_completion"
    texts = [choice["text"] for choice in reply["choices"]]
    for topic, text in zip(["“first”", "“second”", "“1 2”"], texts, strict=True):
        assert topic in text
    assert [choice["index"] for choice in reply["choices"]] == [0, 1, 2]
    assert reply["usage"]["completion_tokens"] == sum(len(text.split()) for text in texts)
    (choice,) = ask(COMPLETIONS, {"model": "sim", "prompt": [5, 6], "max_tokens": 2}).json[
        "choices"
    ]
    assert choice["finish_reason"] == "length"


def test_embeddings_are_unit_vectors_and_close_for_common_words() -> None:
    texts = ["the river and the bridge", "the river and a boat", "quantum flux"]
    body = {"model": "sim", "input": texts, "dimensions": 256}
    reply = ask(EMBEDDINGS, body).json
    a, b, c = (item["embedding"] for item in reply["data"])
    assert len(a) == 256
    assert math.isclose(math.hypot(*a), 1, abs_tol=1e-4)
    assert dot(a, b) > dot(a, c)
    assert reply["usage"] == {"prompt_tokens": 12, "total_tokens": 12}

    packed = ask(EMBEDDINGS, {**body, "encoding_format": "base64"}).json["data"][0]["embedding"]
    assert struct.unpack("<256f", base64.b64decode(packed)) == pytest.approx(a, abs=1e-6)


def dot(a: list[float], b: list[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def test_embedding_of_nothing_is_still_a_unit_vector() -> None:
    for text in ("", "   "):
        (item,) = ask(EMBEDDINGS, {"model": "sim", "input": text}).json["data"]
        assert math.hypot(*item["embedding"]) == 1
    one = ask(EMBEDDINGS, {"model": "sim", "input": "a b c d e f g h", "dimensions": 1}).json
    assert abs(one["data"][0]["embedding"][0]) == 1


def test_lists_its_models_and_its_health() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        models = await client.get("/v1/models")
        assert [model["id"] for model in models.json["data"]] == ["sim", "other"]
        assert (await client.get("/health?verbose=1")).status == 200
        assert (await client.post(CHAT, chat("x") | {"model": "other"})).json["model"] == "other"

    with_engine(test, TWO_MODELS)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (CHAT, b"{not json", 400, "invalid_json"),
        (CHAT, b"", 400, "invalid_json"),
        (CHAT, b'{"model":"\xff"}', 400, "invalid_json"),
        (CHAT, b'{"model":"sim","x":' + b"[" * 100_000, 400, "invalid_json"),
        (
            CHAT,
            b'{"model":"sim","messages":[{"role":"user","content":"\\ud800"}]}',
            400,
            "invalid_json",
        ),
        (CHAT, b"[]", 400, "invalid_value"),
        (CHAT, {"messages": [{"role": "user", "content": "x"}]}, 400, "invalid_value"),
        (CHAT, {"model": "sim"}, 400, "invalid_value"),
        (CHAT, {"model": "sim", "messages": []}, 400, "invalid_value"),
        (CHAT, {"model": "sim", "messages": [{"content": "x"}]}, 400, "invalid_value"),
        (CHAT, chat("x", max_tokens=0), 400, "invalid_value"),
        (CHAT, chat("x", stream=True), 400, "invalid_value"),
        (CHAT, chat("x", n=2), 400, "invalid_value"),
        (CHAT, {**chat("x"), "model": "nope"}, 404, "model_not_found"),
        (COMPLETIONS, {"model": "sim"}, 400, "invalid_value"),
        (COMPLETIONS, {"model": "sim", "prompt": []}, 400, "invalid_value"),
        (COMPLETIONS, {"model": "nope", "prompt": "x"}, 404, "model_not_found"),
        (EMBEDDINGS, {"model": "sim", "input": []}, 400, "invalid_value"),
        (EMBEDDINGS, {"model": "sim", "input": "x", "dimensions": 0}, 400, "invalid_value"),
        (
            EMBEDDINGS,
            {"model": "sim", "input": "x", "encoding_format": "hex"},
            400,
            "invalid_value",
        ),
        ("/v1/audio/speech", {}, 404, "unknown_url"),
        ("/v1/models", {}, 405, "method_not_allowed"),
    ],
)
def test_refuses_in_the_shape_of_openai(path: str, body: Any, status: int, code: str) -> None:
    answer = ask(path, body)
    assert (answer.status, answer.error_code) == (status, code)
    assert answer.headers["x-request-id"]


def test_the_same_seed_gives_the_same_bytes_in_every_engine() -> None:
    for path, body in [
        (CHAT, chat("a")),
        (COMPLETIONS, {"model": "sim", "prompt": "a"}),
        (EMBEDDINGS, {"model": "sim", "input": "a"}),
    ]:
        first = ask(path, body, SimOptions(seed=7))
        assert ask(path, body, SimOptions(seed=7)) == first
    assert ask(CHAT, chat("a"), SimOptions(seed=7)) != ask(CHAT, chat("a"), SimOptions(seed=8))
    assert ask(CHAT, chat("a")).json["id"] != ask(CHAT, chat("b")).json["id"]


def test_the_reply_does_not_depend_on_the_attempt() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        first, second = [await client.post(CHAT, chat("again")) for _ in range(2)]
        assert first.body == second.body
        assert first.headers["x-request-id"] != second.headers["x-request-id"]
        assert engine.times_received(post(CHAT, chat("again")).partition(b"\r\n\r\n")[2]) == 2

    with_engine(test)


def test_a_model_is_listed_as_vllm_lists_it() -> None:
    async def test(engine: SimEngine, client: Client) -> None:
        (card,) = (await client.get("/v1/models")).json["data"]
        assert (card["id"], card["root"], card["parent"]) == ("sim", "sim", None)
        assert (card["object"], card["max_model_len"]) == ("model", 128)
        health = await client.get("/health")
        assert (health.status, health.body) == (200, b"")
        assert (await client.get("/version")).json["version"]

    with_engine(test, SimOptions(max_model_len=128))


LIMITED = SimOptions(max_model_len=10)
TOO_LONG = (
    "This model's maximum context length is 10 tokens. However, you requested {} output tokens"
    " and your prompt contains at least {} input tokens, for a total of at least 11 tokens. Please"
    " reduce the length of the input prompt or the number of requested output tokens."
    " (parameter=input_tokens, value={})"
)
TOO_MANY = "{} cannot be greater than max_model_len=10. Please request fewer output tokens."


@pytest.mark.parametrize(
    ("path", "body", "message", "param"),
    [
        (CHAT, chat("a b c", max_tokens=8), TOO_LONG.format(8, 3, 3), "input_tokens"),
        (CHAT, chat(" x" * 10), TOO_LONG.format(0, 11, 11), "input_tokens"),
        (COMPLETIONS, {"prompt": ["a", " x" * 12]}, TOO_LONG.format(0, 11, 11), "input_tokens"),
        (EMBEDDINGS, {"input": " x" * 10}, TOO_LONG.format(0, 11, 11), "input_tokens"),
        (CHAT, chat(" x" * 9), TOO_LONG.format(1, 10, 10), "input_tokens"),
        (
            CHAT,
            chat("a", max_completion_tokens=11),
            TOO_MANY.format("max_completion_tokens=11"),
            "max_completion_tokens",
        ),
        (
            COMPLETIONS,
            {"prompt": "a", "max_tokens": 20},
            TOO_MANY.format("max_tokens=20"),
            "max_tokens",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_the_words_of_vllm(
    path: str, body: dict[str, object], message: str, param: str
) -> None:
    answer = ask(path, {"model": "sim"} | body, LIMITED)
    assert answer.status == 400
    error = {"message": message, "type": "BadRequestError", "param": param, "code": 400}
    assert answer.json == {"error": error}


def test_what_just_fits_is_answered_and_cut_at_the_end() -> None:
    reply = ask(CHAT, chat("a b c", max_tokens=7), LIMITED).json
    assert reply["usage"] == {"prompt_tokens": 3, "completion_tokens": 7, "total_tokens": 10}
    reply = ask(CHAT, chat("a b c"), LIMITED).json
    assert (reply["usage"]["total_tokens"], reply["choices"][0]["finish_reason"]) == (10, "length")
    assert ask(EMBEDDINGS, {"model": "sim", "input": " x" * 9}, LIMITED).status == 200


@pytest.mark.parametrize("length", [(1, 1), (7, 7), (400, 400), (90, 110)])
def test_replies_can_be_given_a_length(length: tuple[int, int]) -> None:
    low, high = length
    seen = set()
    for n in range(20):
        reply = ask(CHAT, chat(f"prompt {n}"), SimOptions(reply_tokens=length)).json
        tokens = reply["usage"]["completion_tokens"]
        text, reason = reply["choices"][0]["message"]["content"], reply["choices"][0]
        assert low <= tokens <= high
        assert (len(text.split()), reason["finish_reason"]) == (tokens, "stop")
        seen.add(tokens)
    assert len(seen) > 1 or low == high
    reply = ask(CHAT, chat("x", max_tokens=5), SimOptions(reply_tokens=(50, 50))).json
    assert (reply["usage"]["completion_tokens"], reply["choices"][0]["finish_reason"]) == (
        5,
        "length",
    )
