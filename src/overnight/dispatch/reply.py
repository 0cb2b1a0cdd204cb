"""From a whole reply to a value: `Success` if it can stand in an output line, else `Failure`.

The reply's syntax is checked by decoding its `usage`; its bytes are then embedded as they came.
"""

from typing import Annotated, Final

import msgspec

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


_metered: Final = msgspec.json.Decoder(_Metered)
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Error(msgspec.Struct, gc=False):
    message: str | None = None
    code: str | int | None = None


class _ErrorReply(msgspec.Struct, gc=False):
    error: _Error | str | None = None
    message: str | None = None


_error: Final = msgspec.json.Decoder(_ErrorReply)


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
    body, request_id = reply.body, reply.request_id
    for secret in secrets:
        body, request_id = body.replace(secret, _HIDDEN), request_id.replace(secret, _HIDDEN)
    return Reply(reply.status, body, request_id, reply.retry_after)


def judge(reply: Reply, secrets: tuple[bytes, ...] = ()) -> Success | Failure:
    """Turn a reply into an outcome; pure. A failure does not tell the `secrets`."""
    if not 200 <= reply.status < 300:
        return _refusal(without(secrets, reply))
    body = reply.body
    try:
        usage = _metered.decode(body).usage
        # msgspec checks UTF-8 only in what it decodes.
        body.isascii() or str(body, "utf-8")
    except msgspec.ValidationError:
        return _oddly_metered(reply, secrets)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return _bad(without(secrets, reply), str(error))
    if 10 in body or 13 in body:
        body = on_one_line(body)
    request_id = request_token(reply.request_id)
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
        _object.decode(reply.body)
        str(reply.body, "utf-8")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return _bad(without(secrets, reply), str(error))
    return Success(reply.status, request_token(reply.request_id), on_one_line(reply.body))


def _bad(reply: Reply, why: str) -> Failure:
    return Failure(
        FailureKind.BAD_REPLY,
        f"The upstream answered {reply.status} with a body that is not a JSON object: {why}.",
        reply.status,
        request_token(reply.request_id),
        reply.body,
    )


def error_text(reply: Reply) -> str:
    """One sentence about an error reply: the upstream's own message where it sent one."""
    try:
        said = _error.decode(reply.body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        said = _ErrorReply()
    inner = said.error.message if isinstance(said.error, _Error) else said.error
    text = inner or said.message
    return f"The upstream answered {reply.status}{': ' + text[:500] if text else '.'}"


def names_model(failure: Failure) -> bool:
    """Is a 404 about the model in the request, rather than about the URL?"""
    try:
        said = _error.decode(failure.body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    if isinstance(said.error, _Error):
        text = f"{said.error.code or ''} {said.error.message or ''}"
    else:
        text = said.error or said.message or ""
    return "model" in text.lower()


def retry_after_seconds(value: bytes) -> float | None:
    """`Retry-After` in seconds (RFC 9110 §10.2.3); a date or nonsense counts as 1 second."""
    if not value:
        return None
    try:
        return max(0.0, min(float(value), 3600.0))
    except ValueError:
        return 1.0
