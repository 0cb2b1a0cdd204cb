"""The bytes of a result line: one shape for output files, one for error files.

Both dialects read these: the shape is OpenAI's, and where Together's readers look for `error`
they find it filled. Ids are derived from the job and the line, so that writing a line again
gives the same line, and no two jobs share one.
"""

import re
from typing import Final

import msgspec

from overnight.domain.request import Failure, Success

_PLAIN: Final = re.compile(rb"[ !#-\[\]-~]{1,256}", re.DOTALL)
_encode: Final = msgspec.json.Encoder().encode

KEPT_BYTES_MAX: Final = 256 * 1024
"""Of a reply that is no answer: enough to see what it was."""


class Unsent:
    """Why a request has no outcome of its own: codes and messages of error lines."""

    CANCELLED: Final = (
        "batch_cancelled",
        "This request was not executed: the batch was cancelled.",
    )
    EXPIRED: Final = (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    )
    LOST: Final = (
        "internal_error",
        "The outcome of this request could not be read back from storage; run it again.",
    )
    NAMELESS: Final = "Its custom_id can not be read back either: it is that of line"


def line_prefix(job_hex: str) -> bytes:
    """What all result lines of a job begin with, up to the line's own part of the id."""
    return b'{"id":"batch_req_' + job_hex.encode()


def request_token(value: bytes) -> bytes | None:
    """An upstream's request id as a JSON string, or None when it sent none."""
    if not value:
        return None
    if (value.isalnum() and len(value) <= 256) or _PLAIN.fullmatch(value):
        return b'"' + value + b'"'
    return _encode(value[:256].decode("latin-1"))


def success_line(prefix: bytes, line_number: int, custom_id: bytes, outcome: Success) -> bytes:
    """A line of the output file, newline included. `custom_id` is a JSON string."""
    number = b"%08x" % line_number
    # Joining costs a third of what formatting does, and there is one line per request.
    return b"".join(
        (
            prefix,
            number,
            b'","custom_id":',
            custom_id,
            b',"response":{"status_code":%d,"request_id":' % outcome.status,
            outcome.request_id or b'"req_' + prefix[17:] + number + b'"',
            b',"body":',
            outcome.body,
            b'},"error":null}\n',
        )
    )


def failure_line(prefix: bytes, line_number: int, custom_id: bytes, failure: Failure) -> bytes:
    """A line of the error file for a request that was sent and failed for good."""
    response = b"null"
    if failure.status:
        request_id = failure.request_id or b'"req_%b%08x"' % (prefix[17:], line_number)
        response = b'{"status_code":%d,"request_id":%b,"body":%b}' % (
            failure.status,
            request_id,
            embeddable(failure.body),
        )
    return _error_line(
        prefix, line_number, custom_id, response, (failure.kind.value, failure.detail)
    )


def unsent_line(
    prefix: bytes, line_number: int, custom_id: bytes, reason: tuple[str, str]
) -> bytes:
    """A line of the error file for a request without an outcome; `reason` is one of `Unsent`."""
    return _error_line(prefix, line_number, custom_id, b"null", reason)


def _error_line(
    prefix: bytes, line_number: int, custom_id: bytes, response: bytes, error: tuple[str, str]
) -> bytes:
    code, message = error
    return b'%b%08x","custom_id":%b,"response":%b,"error":{"code":%b,"message":%b}}\n' % (
        prefix, line_number, custom_id, response, _encode(code), _encode(message),
    )  # fmt: skip


def embeddable(body: bytes) -> bytes:
    """An error reply's body as a JSON value on one line: itself if it is JSON, else a string.

    Of one that is very long only the beginning is kept, as a string.
    """
    if len(body) > KEPT_BYTES_MAX:
        kept = body[:KEPT_BYTES_MAX].decode("utf-8", "replace")
        return _encode(f"{kept}… (the first of {len(body):,} bytes)")
    try:
        msgspec.json.decode(body)
        str(body, "utf-8")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _encode(body.decode("utf-8", "replace"))
    return on_one_line(body)


def on_one_line(body: bytes) -> bytes:
    """Take raw line breaks out of checked JSON, where they can only stand between tokens."""
    if b"\n" in body:
        body = body.replace(b"\n", b"")
    if b"\r" in body:
        body = body.replace(b"\r", b"")
    return body
