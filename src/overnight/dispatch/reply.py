"""From a whole reply to a value: `Success` if it can stand in an output line, else `Failure`.

The reply's syntax is checked by decoding its `usage`; its bytes are then embedded as they came.
"""

import codecs
from typing import Annotated, Final

import msgspec

from overnight.dispatch.complaint import UNREADABLE, error_text, looks, own_message
from overnight.dispatch.http1 import Reply
from overnight.domain.request import Failure, FailureKind, Success
from overnight.domain.result_line import on_one_line, request_token

Tokens = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
"""What a segment has room for; a reply that claims more counts none."""


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: Tokens = 0
    completion_tokens: Tokens = 0
    input_tokens: Tokens = 0
    output_tokens: Tokens = 0


class _Metered(msgspec.Struct, gc=False):
    usage: _Usage | None = None
    error: object = None


_metered: Final = msgspec.json.Decoder(_Metered)
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


_NO_ERROR: Final = frozenset({b"null", b"false", b"0", b'""', b"{}", b"[]"})


_SECRET_CHARS_MIN: Final = 8
"""Shorter keys, such as those of engines that ask for any, are words that replies may hold."""
_HIDDEN: Final = b"***"


def spellings(secret: str) -> tuple[bytes, ...]:
    """How it may appear in a reply: as it is, or in JSON, in which some write / as \\/."""
    if len(secret) < _SECRET_CHARS_MIN:
        return ()
    in_json = msgspec.json.encode(secret)[1:-1]
    found = {secret.encode(), in_json, in_json.replace(b"/", rb"\/")}
    return tuple(sorted(found, key=len, reverse=True))


def without(secrets: tuple[bytes, ...], reply: Reply) -> Reply:
    """The reply as it may be told to those who do not know the secrets.

    Servers that refuse a request like to show what they were sent, the operator's key included.
    """
    body, head = reply.body, reply.head
    for secret in secrets:
        body, head = body.replace(secret, _HIDDEN), head.replace(secret, _HIDDEN)
    return Reply(reply.status, body, head)


def judge(reply: Reply, secrets: tuple[bytes, ...] = ()) -> Success | Failure:
    """Turn a reply into an outcome; pure. A failure does not tell the `secrets`."""
    if not 200 <= reply.status < 300:
        return _refusal(without(secrets, reply))
    body = reply.body
    try:
        read = _metered.decode(body)
        # msgspec checks UTF-8 only in what it decodes.
        body.isascii() or str(body, "utf-8")
    except msgspec.ValidationError:
        return _oddly_metered(reply, secrets)
    except UNREADABLE as problem:
        return _unreadable(reply, secrets, str(problem))
    if read.error:
        return _error_inside(without(secrets, reply))
    if 10 in body or 13 in body:
        body = on_one_line(body)
    request_id = request_token(reply.request_id)
    usage = read.usage
    if usage is None:
        return Success(reply.status, request_id, body)
    return Success(
        reply.status,
        request_id,
        body,
        usage.prompt_tokens or usage.input_tokens,
        usage.completion_tokens or usage.output_tokens,
    )


def _refusal(reply: Reply) -> Failure:
    return Failure(
        FailureKind.STATUS,
        error_text(reply),
        reply.status,
        request_token(reply.request_id),
        reply.body,
        retry_after_seconds(reply.retry_after),
    )


def _oddly_metered(reply: Reply, secrets: tuple[bytes, ...]) -> Success | Failure:
    """An object whose `usage` is not as usual is still an answer; it counts no tokens."""
    try:
        error = _object.decode(reply.body).get("error")
        str(reply.body, "utf-8")
    except UNREADABLE as problem:
        return _unreadable(reply, secrets, str(problem))
    if error is not None and bytes(error) not in _NO_ERROR:
        return _error_inside(without(secrets, reply))
    return Success(reply.status, request_token(reply.request_id), on_one_line(reply.body))


def _unreadable(reply: Reply, secrets: tuple[bytes, ...], why: str) -> Success | Failure:
    """Tell what came instead of a JSON object; a byte order mark before one is let pass."""
    if reply.body.startswith(codecs.BOM_UTF8):
        # RFC 8259 §8.1: none may be sent, yet one may be ignored.
        body = reply.body.removeprefix(codecs.BOM_UTF8)
        return judge(msgspec.structs.replace(reply, body=body), secrets)
    reply = without(secrets, reply)
    return _bad(reply, f"{looks(reply) or f'a body that is not a JSON object: {why}'}.")


def _error_inside(reply: Reply) -> Failure:
    """Some gateways say with status 200 that their engine failed."""
    said = own_message(reply.body)
    return _bad(reply, f"an error inside: {said}" if said else "an error inside.")


def _bad(reply: Reply, what: str) -> Failure:
    return Failure(
        FailureKind.BAD_REPLY,
        f"The upstream answered {reply.status} with {what}",
        reply.status,
        request_token(reply.request_id),
        reply.body,
    )


def retry_after_seconds(value: bytes) -> float | None:
    """`Retry-After` in seconds (RFC 9110 §10.2.3); a date or nonsense counts as 1 second."""
    if not value:
        return None
    try:
        return max(0.0, min(float(value), 3600.0))
    except ValueError:
        return 1.0
