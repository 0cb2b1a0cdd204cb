"""What a line is that is JSON but no batch request: told by the fields it has."""

from collections.abc import Set
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw

_decode_names: Final = msgspec.json.Decoder(dict[str, Raw]).decode


class LineKind(NamedTuple):
    what: str
    """Goes on from «a line is»."""
    right: str


_WRAPPED: Final = '{"custom_id": …, "body": {…}}'

_RESULT: Final = LineKind(
    "a result of a batch", "Give the file of requests that went in, not the one that came out."
)
_BARE_BODY: Final = LineKind(
    "a bare request body", f"Put these fields into `body`: {_WRAPPED}, the id beside it."
)
_TRAINING: Final = LineKind(
    "a fine-tuning example",
    f"A batch needs requests: {_WRAPPED}, with model and prompt in the body.",
)
_ANTHROPIC: Final = LineKind(
    "a request in Anthropic's batch format",
    "Put the request as the OpenAI API takes it into `body`, in place of `params`.",
)
_GEMINI: Final = LineKind(
    "a request in Gemini's batch format",
    f"Write each as {_WRAPPED}, the body as the OpenAI API takes it.",
)

_KINDS: Final[tuple[tuple[Set[str], LineKind], ...]] = (
    ({"custom_id", "response"}, _RESULT),
    ({"custom_id", "result"}, _RESULT),
    ({"custom_id", "params"}, _ANTHROPIC),
    ({"key", "request"}, _GEMINI),
    ({"request", "contents"}, _GEMINI),
    ({"prompt", "completion"}, _TRAINING),
    ({"conversations"}, _TRAINING),
    ({"instruction", "output"}, _TRAINING),
    ({"model", "messages"}, _BARE_BODY),
    ({"model", "prompt"}, _BARE_BODY),
    ({"model", "input"}, _BARE_BODY),
    ({"custom_id", "messages"}, _BARE_BODY),
    ({"custom_id", "prompt"}, _BARE_BODY),
    ({"custom_id", "input"}, _BARE_BODY),
    ({"messages"}, _TRAINING),
)
"""Which fields tell which kind, the surer ones first."""


def kind_of(line: bytes) -> LineKind | None:
    """None for a line with a `body`, for one that is no JSON object, and for what is unknown."""
    try:
        names = _decode_names(line).keys()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if "body" in names:
        return None
    return next((kind for signs, kind in _KINDS if signs <= names), None)
