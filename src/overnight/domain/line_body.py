"""A request's body: the little that is asked of it before it is sent as it is.

What its endpoint works on must be there; whether it is right is the upstream's to say.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from msgspec import Raw

from overnight.domain import line_faults
from overnight.domain.line_faults import CONTENT_OF, Refused, is_given

_ABSENT: Final = Raw(b"")


class Head(msgspec.Struct, gc=False, kw_only=True):
    """What a good body says about itself."""

    model: str
    stream: bool | None = None


class _ChatHead(Head, gc=False, kw_only=True):
    messages: Raw


class _CompletionHead(Head, gc=False, kw_only=True):
    prompt: Raw


class _EmbeddingHead(Head, gc=False, kw_only=True):
    input: Raw


class _Fields(msgspec.Struct, gc=False):
    """The fields that are asked for as written, whatever their types."""

    model: Raw = _ABSENT
    stream: Raw = _ABSENT
    messages: Raw = _ABSENT
    prompt: Raw = _ABSENT
    prompt_embeds: Raw = _ABSENT
    input: Raw = _ABSENT


HeadDecode = Callable[[bytes], Head]

_decode_any_head: Final[HeadDecode] = msgspec.json.Decoder(Head).decode
_decode_chat_head: Final[HeadDecode] = msgspec.json.Decoder(_ChatHead).decode
_HEAD_DECODES: Final[Mapping[str, HeadDecode]] = {
    "/v1/chat/completions": _decode_chat_head,
    "/v1/completions": msgspec.json.Decoder(_CompletionHead).decode,
    "/v1/embeddings": msgspec.json.Decoder(_EmbeddingHead).decode,
}
_decode_fields: Final = msgspec.json.Decoder(_Fields).decode
_decode_string: Final = msgspec.json.Decoder(str).decode


def head_decode(endpoint: str | None) -> HeadDecode:
    """Reads a body as nearly all for that endpoint are; one it refuses may still be right."""
    if endpoint is None:
        return _decode_chat_head
    return _HEAD_DECODES.get(endpoint, _decode_any_head)


def model_of(line: bytes, body: bytes, endpoint: str | None) -> str:
    """The model a body asks for; raises `Refused` for what no body may say or lack.

    `endpoint` None: not known; an endpoint of the user's own may work on anything.
    """
    if body[:1] != b"{":
        raise Refused(line_faults.bad_body(line, body))
    try:
        head = head_decode(endpoint)(body)
        if head.model and not head.stream:
            return head.model
    except msgspec.ValidationError:
        pass  # A field is missing or has another type; which one is found out below.
    fields = _decode_fields(body)
    stream, model = bytes(fields.stream), text(bytes(fields.model))
    if is_given(stream) and stream != b"false":
        raise Refused(line_faults.streaming(line, stream))
    if not model:
        raise Refused(line_faults.bad_model(line, bytes(fields.model)))
    _check_content(line, fields, endpoint)
    return model.decode()


def _check_content(line: bytes, fields: _Fields, endpoint: str | None) -> None:
    known = sorted({name for names in CONTENT_OF.values() for name in names})
    needed = known if endpoint is None else CONTENT_OF.get(endpoint, ())
    given = [name for name in known if bytes(getattr(fields, name))]
    if needed and not set(given).intersection(needed):
        raise Refused(line_faults.no_content(line, endpoint, given))


def text(token: bytes) -> bytes:
    """The value of a JSON string in UTF-8; empty for any other token."""
    if token[:1] != b'"':
        return b""
    return _decode_string(token).encode() if b"\\" in token else token[1:-1]
