"""What was wrong with a reply, in words: for error lines, and for what is told of upstreams."""

from typing import Final

import msgspec

from overnight.dispatch.http1 import Reply
from overnight.domain.request import Failure, FailureKind

UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What decoding a body that is not the JSON looked for may raise."""

_LOOKED_AT_BYTES: Final = 1024
_MESSAGE_CHARACTERS_MAX: Final = 500


class _Error(msgspec.Struct, gc=False):
    message: str | None = None
    code: str | int | None = None


class _ErrorReply(msgspec.Struct, gc=False):
    error: _Error | str | None = None
    message: str | None = None


_error: Final = msgspec.json.Decoder(_ErrorReply)


def error_text(reply: Reply) -> str:
    """One sentence about an error reply: the upstream's own message where it sent one."""
    if 300 <= reply.status < 400:
        return f"The upstream answered {reply.status}, a redirect, and redirects are not followed."
    said = own_message(reply.body)
    if said:
        return f"The upstream answered {reply.status}: {said}"
    what = looks(reply) if reply.body else ""
    return f"The upstream answered {reply.status}{f' with {what}' if what else ''}."


def own_message(body: bytes) -> str:
    """What an error reply says of itself, shortened; empty when it says nothing we can read."""
    try:
        said = _error.decode(body)
    except UNREADABLE:
        return ""
    inner = said.error.message if isinstance(said.error, _Error) else said.error
    return (inner or said.message or "")[:_MESSAGE_CHARACTERS_MAX]


def looks(reply: Reply) -> str:
    """What a body that is not the JSON expected seems to be; empty when that is hard to tell."""
    body = reply.body[:_LOOKED_AT_BYTES].strip()
    coding = reply.coding.strip().lower()
    if coding not in (b"", b"identity"):
        return f"a body compressed as {coding[:40].decode('latin-1')}, though asked not to"
    if body.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        return "a compressed body, though asked not to"
    if body.startswith((b"data:", b"event:")):
        return "a stream of events, though asked for none"
    if body.startswith(b"<"):
        return "a page of HTML or XML"
    return "" if body else "an empty body"


def is_page(failure: Failure) -> bool:
    """Did a web page come in place of an answer? Then the URL may well be a web site's."""
    return failure.kind is FailureKind.BAD_REPLY and failure.body.lstrip().startswith(b"<")


def names_model(failure: Failure) -> bool:
    """Is a 404 about the model in the request, rather than about the URL?"""
    try:
        said = _error.decode(failure.body)
    except UNREADABLE:
        return False
    if isinstance(said.error, _Error):
        text = f"{said.error.code or ''} {said.error.message or ''}"
    else:
        text = said.error or said.message or ""
    return "model" in text.lower()
