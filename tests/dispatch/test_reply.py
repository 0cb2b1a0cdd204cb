"""What a failure tells of an upstream's reply, and what it must not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.dispatch.http1 import Reply
from overnight.dispatch.reply import judge, spellings
from overnight.domain.request import Failure, Success

KEYS = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="*"),
    min_size=8,
    max_size=80,
)
TEXTS = st.text(max_size=20)


@given(KEYS, TEXTS, TEXTS, st.sampled_from([400, 401, 422, 503, 200]), st.booleans())
def test_a_failure_never_tells_the_key(
    key: str, before: str, after: str, status: int, slashes: bool
) -> None:
    message = f"{before}{key}{after}"
    bodies = [
        json.dumps({"error": {"message": message}}),
        json.dumps({"message": message}),
        message,
    ]
    if slashes:
        bodies = [body.replace("/", "\\/") for body in bodies]
    for body in bodies:
        reply = Reply(status, body.encode(errors="replace"), b"\nx-request-id: " + key.encode())
        outcome = judge(reply, spellings(key))
        if isinstance(outcome, Success):
            assert status == 200
            continue
        told = [outcome.detail.encode(errors="replace"), outcome.body, outcome.request_id or b""]
        for spelling in (key, json.dumps(key)[1:-1]):
            assert not any(spelling.encode() in one for one in told)
        assert b"***" in outcome.body


def test_a_key_is_not_told_by_halves() -> None:
    """The message is cut; what is left of a key would be most of it."""
    key = "k" * 64
    body = json.dumps({"error": {"message": "x" * 450 + key}}).encode()
    outcome = judge(Reply(400, body), spellings(key))
    assert isinstance(outcome, Failure)
    assert "kk" not in outcome.detail


@pytest.mark.parametrize("key", ["", "EMPTY", "ollama", "sk-1234"])
def test_a_short_key_is_a_word_like_others(key: str) -> None:
    body = json.dumps({"error": f"no model {key}"}).encode()
    outcome = judge(Reply(404, body), spellings(key))
    assert isinstance(outcome, Failure)
    assert outcome.body == body
