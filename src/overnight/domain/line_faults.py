"""What is said of a faulty line: codes, messages and excerpts, all in one place.

The codes are OpenAI's where it has one. Every message says what is wrong and what would be
right. The faults made here have no line number yet; the checker, which knows it, adds it.
"""

import re
from typing import Final

import msgspec

from overnight.domain.request import Fault

EXCERPT_CHARACTERS_MAX: Final = 80

_QUOTED_CHARACTERS_MAX: Final = 40
_BYTE_IN_ERROR: Final = re.compile(r" \(byte (\d+)\)$")


def shortened(text: str, characters_max: int = EXCERPT_CHARACTERS_MAX) -> str:
    """`text`, or its beginning and an ellipsis."""
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"


def too_long(line: bytes, line_bytes_max: int) -> Fault:
    message = f"This line is longer than {line_bytes_max:,} bytes; shorten the request or split it."
    return Fault("line_too_long", message, excerpt=_excerpt(line))


def not_utf8(line: bytes, error: UnicodeDecodeError) -> Fault:
    message = (
        f"This line is not UTF-8: byte 0x{line[error.start]:02x} at position {error.start} "
        "does not belong; save the file as UTF-8."
    )
    return Fault("invalid_utf8", message, excerpt=_excerpt_around(line, error.start))


def not_json(line: bytes, error: msgspec.DecodeError) -> Fault:
    """A line the decoder refused; a `ValidationError` says that it is not an object."""
    if isinstance(error, msgspec.ValidationError):
        message = (
            "This line is not a JSON object; each line must be one object "
            'such as {"custom_id": …, "body": {…}}.'
        )
        return Fault("invalid_json_line", message, excerpt=_excerpt(line))
    reason = str(error).removeprefix("JSON is malformed: ")
    message = f"This line is not parseable as valid JSON: {reason}."
    found = _BYTE_IN_ERROR.search(reason)
    position = int(found[1]) if found else 0
    return Fault("invalid_json_line", message, excerpt=_excerpt_around(line, position))


def too_deep(line: bytes) -> Fault:
    message = "This line's JSON is nested too deeply to be read; flatten the request."
    return Fault("invalid_json_line", message, excerpt=_excerpt(line))


def bad_custom_id(token: bytes, custom_id_bytes_max: int) -> Fault:
    """`token` is the field's JSON: absent, of another type, empty or too long."""
    right = f"Give each line a string of 1 to {custom_id_bytes_max} bytes, unique in the file."
    if not is_given(token):
        return _missing("custom_id", right)
    what = "longer than that" if token[:1] == b'"' else "not a string"
    if token == b'""':
        what = "empty"
    message = f"custom_id is {what}. {right}"
    return Fault("invalid_custom_id", message, param="custom_id", excerpt=_excerpt(token))


def bad_method(token: bytes) -> Fault:
    right = 'It must be "POST".'
    if not is_given(token):
        return _missing("method", right)
    if token == b'"FILE"':
        right = 'Requests by file URL are not supported; use "POST" and a JSON body.'
    message = f"method is {_quoted(token)}. {right}"
    return Fault("invalid_method", message, param="method", excerpt=_excerpt(token))


def bad_url(token: bytes, allowed: tuple[str, ...]) -> Fault:
    right = f"It must be one of {', '.join(allowed)}."
    if len(allowed) == 1:
        right = f"It must be '{allowed[0]}', the batch's endpoint."
    if not is_given(token):
        return _missing("url", right)
    message = f"url is {_quoted(token)}. {right}"
    return Fault("invalid_url", message, param="url", excerpt=_excerpt(token))


def bad_body(token: bytes) -> Fault:
    right = "It must be an object, the request as the endpoint takes it."
    if not is_given(token):
        return _missing("body", right)
    message = f"body is {_quoted(token)}. {right}"
    return Fault("invalid_request", message, param="body", excerpt=_excerpt(token))


def streaming(token: bytes) -> Fault:
    message = "A batch's replies can not be streamed; leave 'stream' out or set it to false."
    return Fault("streaming_unsupported", message, param="body.stream", excerpt=_excerpt(token))


def bad_model(token: bytes) -> Fault:
    what = f"is {_quoted(token)}" if is_given(token) else "is missing"
    message = f"body.model {what}. It must be a model's name, a string that is not empty."
    return Fault("invalid_request", message, param="body.model", excerpt=_excerpt(token))


def is_given(token: bytes) -> bool:
    """A field that is null says no more than one that is not there."""
    return token not in (b"", b"null")


def _missing(name: str, right: str) -> Fault:
    message = f"Missing required parameter: '{name}'. {right}"
    return Fault("missing_required_parameter", message, param=name)


def _quoted(token: bytes) -> str:
    return _excerpt(token, _QUOTED_CHARACTERS_MAX) or "null"


def _excerpt_around(line: bytes, position: int) -> str | None:
    return _excerpt(line[max(0, position - EXCERPT_CHARACTERS_MAX // 2) :])


def _excerpt(text: bytes, characters_max: int = EXCERPT_CHARACTERS_MAX) -> str | None:
    """The beginning of `text`; a character is at most four bytes, and one may be cut at an end."""
    shown = text[: 4 * (characters_max + 2)].decode("utf-8", "replace").strip()
    return shortened(shown, characters_max) or None
