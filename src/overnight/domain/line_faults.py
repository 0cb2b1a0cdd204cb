"""What is said of a faulty line: codes, messages and excerpts, all in one place.

Every message says what is wrong and what would be right. The faults made here have no line
number yet; the checker, which knows it, adds it.
"""

import re
from collections.abc import Set
from typing import Final

import msgspec

from overnight.domain.excerpts import Excerpt, beginning, excerpt, shortened
from overnight.domain.fault_codes import FaultCode
from overnight.domain.line_kinds import kind_of
from overnight.domain.line_syntax import explained
from overnight.domain.request import Fault

_QUOTED_CHARACTERS_MAX: Final = 40
_MODELS_NAMED_MAX: Final = 20

CONTENT_OF: Final = {
    "/v1/chat/completions": ("messages",),
    "/v1/completions": ("prompt", "prompt_embeds"),
    "/v1/embeddings": ("input", "messages"),
}
"""What a body must have for its endpoint: the usual field, or what vLLM takes in its place."""


class Refused(Exception):  # noqa: N818  never leaves the checker
    """Ends the examination of a line at its first fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def too_long(line: bytes, line_bytes_max: int) -> Fault:
    message = f"This line is longer than {line_bytes_max:,} bytes; shorten the request or split it."
    return _fault(FaultCode.LINE_TOO_LONG, message, excerpt(line))


def not_utf8(line: bytes, error: UnicodeDecodeError) -> Fault:
    message = (
        f"This line is not UTF-8: byte 0x{line[error.start]:02x} at position {error.start} "
        "does not belong; save the file as UTF-8."
    )
    return _fault(FaultCode.INVALID_UTF8, message, excerpt(line, error.start, error.start + 1))


def not_json(line: bytes, error: msgspec.DecodeError) -> Fault:
    """A line the decoder refused; a `ValidationError` says that it is not an object."""
    if isinstance(error, msgspec.ValidationError):
        message = (
            "This line is not a JSON object; each line must be one object "
            'such as {"custom_id": …, "body": {…}}.'
        )
        return _fault(FaultCode.INVALID_JSON_LINE, message, excerpt(line))
    found = explained(line, str(error))
    message = f"This line is not parseable as valid JSON: {found.what}."
    return _fault(FaultCode.INVALID_JSON_LINE, message, excerpt(line, found.start, found.end))


def too_deep(line: bytes) -> Fault:
    message = "This line's JSON is nested too deeply to be read; flatten the request."
    return _fault(FaultCode.INVALID_JSON_LINE, message, excerpt(line))


def bad_custom_id(line: bytes, token: bytes, custom_id_bytes_max: int) -> Fault:
    """`token` is the field's JSON: absent, of another type, empty or too long."""
    right = f"Give each line a string of 1 to {custom_id_bytes_max} bytes, unique in the file."
    if not is_given(token):
        return _missing(line, "custom_id", right)
    what = "longer than that" if token[:1] == b'"' else "not a string"
    if token == b'""':
        what = "empty"
    message = f"custom_id is {what}. {right}"
    return _of_field(FaultCode.INVALID_CUSTOM_ID, message, "custom_id", line, token)


def bad_method(line: bytes, token: bytes) -> Fault:
    right = 'It must be "POST".'
    if not is_given(token):
        return _missing(line, "method", right)
    if token == b'"FILE"':
        message = (
            'method is "FILE". Requests that send a file, as for audio, are not supported yet; '
            'a batch takes "POST" with a JSON body.'
        )
        return _of_field(FaultCode.FILE_UNSUPPORTED, message, "method", line, token)
    message = f"method is {_quoted(token)}. {right}"
    return _of_field(FaultCode.INVALID_METHOD, message, "method", line, token)


def bad_url(line: bytes, token: bytes, allowed: tuple[str, ...]) -> Fault:
    right = f"It must be one of {', '.join(allowed)}."
    if len(allowed) == 1:
        right = f"It must be '{allowed[0]}', the batch's endpoint."
    if not is_given(token):
        return _missing(line, "url", right)
    message = f"url is {_quoted(token)}. {right}"
    return _of_field(FaultCode.INVALID_URL, message, "url", line, token)


def bad_body(line: bytes, token: bytes) -> Fault:
    right = "It must be an object, the request as the endpoint takes it."
    if not is_given(token):
        return _missing(line, "body", right)
    what = "a string that holds JSON" if token[:2] == b'"{' else _quoted(token)
    message = f"body is {what}. {right}"
    return _of_field(FaultCode.INVALID_REQUEST, message, "body", line, token)


def streaming(line: bytes, token: bytes) -> Fault:
    message = "A batch's replies can not be streamed; leave 'stream' out or set it to false."
    return _of_field(FaultCode.STREAMING_UNSUPPORTED, message, "body.stream", line, token)


def bad_model(line: bytes, token: bytes) -> Fault:
    right = "It must be a model's name, a string that is not empty."
    if not is_given(token):
        message = f"body.model is missing. {right}"
        return _fault(FaultCode.INVALID_REQUEST, message, excerpt(line), "body.model")
    message = f"body.model is {_quoted(token)}. {right}"
    return _of_field(FaultCode.INVALID_REQUEST, message, "body.model", line, token)


def no_content(line: bytes, endpoint: str | None, others: list[str]) -> Fault:
    """The body lacks what its endpoint works on; it has `others`, which are for other ones.

    `endpoint` None: neither the batch nor the line names one.
    """
    if endpoint is None:
        message = "body has no messages, prompt or input. It needs one of them, for its endpoint."
        return _fault(FaultCode.INVALID_REQUEST, message, excerpt(line), "body")
    needed = CONTENT_OF[endpoint][0]
    message = f"body.{needed} is missing; {endpoint} works on it."
    if others:
        message += f" The body has '{others[0]}', which is for {_endpoint_of(others[0])}."
    return _fault(FaultCode.INVALID_REQUEST, message, excerpt(line), f"body.{needed}")


def unknown_model(line: bytes, model: str, served: Set[str]) -> Fault:
    message = f"The model '{shortened(model)}' is not served; {_there_are(served)}."
    return _of_value(FaultCode.MODEL_NOT_FOUND, message, "body.model", line, model)


def other_model(line: bytes, model: str, wanted: str) -> Fault:
    message = (
        f"body.model is '{shortened(model)}', but the batch was created for the model "
        f"'{shortened(wanted)}' (model_id); let all lines name that one, or create it without."
    )
    return _of_value(FaultCode.MISMATCHED_MODEL, message, "body.model", line, model)


def unfit_model(line: bytes, model: str, characters_max: int) -> Fault:
    message = f"body.model must be at most {characters_max} printable characters."
    return _of_value(FaultCode.INVALID_REQUEST, message, "body.model", line, model)


def other_url(line: bytes, url: str, first: str, first_line: int) -> Fault:
    message = (
        f"url is '{url}', but line {first_line} has '{first}'; "
        "all requests of a file go to one endpoint."
    )
    return _of_value(FaultCode.INVALID_URL, message, "url", line, url)


def duplicate(line: bytes, custom_id: bytes, place: tuple[int, int], first_line: int) -> Fault:
    """`place` is where in the line the id is written, quotes included."""
    message = (
        f"custom_id '{shortened(custom_id.decode())}' is already used on line {first_line}; "
        "each must be unique."
    )
    shown = excerpt(line, *place)
    return _fault(FaultCode.DUPLICATE_CUSTOM_ID, message, shown, "custom_id")


def is_given(token: bytes) -> bool:
    """A field that is null says no more than one that is not there."""
    return token not in (b"", b"null")


def place_of(line: bytes, token: bytes, name: str) -> tuple[int, int]:
    """Where the field's value lies: near enough when it is there twice, nowhere when respelt."""
    for key in re.finditer(b'"%b"\\s*:\\s*' % name.encode(), line):
        if line.startswith(token, key.end()):
            return key.end(), key.end() + len(token)
    start = line.find(token)
    return (start, start + len(token)) if start >= 0 else (0, 0)


def _endpoint_of(content: str) -> str:
    return next(endpoint for endpoint, names in CONTENT_OF.items() if content in names)


def _missing(line: bytes, name: str, right: str) -> Fault:
    kind = kind_of(line)
    if kind is not None:
        right = f"The line looks like {kind.what}. {kind.right}"
    message = f"Missing required parameter: '{name}'. {right}"
    return _fault(FaultCode.MISSING_REQUIRED_PARAMETER, message, excerpt(line), name)


def _there_are(models: Set[str]) -> str:
    if not models:
        return "there are none"
    named = ", ".join(sorted(models)[:_MODELS_NAMED_MAX])
    more = len(models) - _MODELS_NAMED_MAX
    return f"there are: {named}" + (f" and {more} more" if more > 0 else "")


def _of_value(code: FaultCode, message: str, param: str, line: bytes, value: str) -> Fault:
    """A string field whose value is known and not how it is spelt; usually as it is."""
    return _of_field(code, message, param, line, b'"%b"' % value.encode())


def _of_field(code: FaultCode, message: str, param: str, line: bytes, token: bytes) -> Fault:
    shown = excerpt(line, *place_of(line, token, param.rpartition(".")[2]))
    return _fault(code, message, shown, param)


def _fault(code: FaultCode, message: str, shown: Excerpt, param: str | None = None) -> Fault:
    return Fault(code, message, None, param, shown.text, shown.marked)


def _quoted(token: bytes) -> str:
    return beginning(token, _QUOTED_CHARACTERS_MAX)
