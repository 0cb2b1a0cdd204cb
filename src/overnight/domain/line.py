"""One line of an input file: what must hold of it, and where its parts lie.

A line is read as JSON reads it: of a key that appears twice the last one counts. Parts are
given as byte ranges of the line, so that a request is later sent, and its id copied into a
result line, exactly as the user wrote them.
"""

import re
from typing import Final, NoReturn

import msgspec
from msgspec import Raw

from overnight.domain.request import Fault, LineRules

ENDPOINTS: Final = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
"""What a line's `url` may be when the job names no endpoint."""

EXCERPT_CHARACTERS_MAX: Final = 80

_ABSENT: Final = Raw(b"")
_NOTHING: Final = (b"", b"null")
"""A field that is null says as much as one that is not there."""

_BYTE_IN_ERROR: Final = re.compile(r" \(byte (\d+)\)$")


class CheckedLine(msgspec.Struct, frozen=True, gc=False):
    """A good line. Offsets and lengths are bytes, counted from the start of the line.

    `custom_id` is its value in UTF-8; `id_offset` and `id_bytes` are the JSON string as
    written, quotes and escapes included. `url` is None when the line names none.
    """

    model: str
    custom_id: bytes
    body_offset: int
    body_bytes: int
    id_offset: int
    id_bytes: int
    url: str | None


class _Head(msgspec.Struct, gc=False):
    """What a good body says about itself."""

    model: str
    stream: bool | None = None


class _Fields(msgspec.Struct, gc=False):
    """A line's fields as written, whatever their types."""

    custom_id: Raw = _ABSENT
    method: Raw = _ABSENT
    url: Raw = _ABSENT
    body: Raw = _ABSENT


class _BodyFields(msgspec.Struct, gc=False):
    model: Raw = _ABSENT
    stream: Raw = _ABSENT


class _Refused(Exception):  # noqa: N818  never leaves this module
    """Ends the examination of a line at its first fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


_decode_head: Final = msgspec.json.Decoder(_Head).decode
_decode_fields: Final = msgspec.json.Decoder(_Fields).decode
_decode_body_fields: Final = msgspec.json.Decoder(_BodyFields).decode
_decode_string: Final = msgspec.json.Decoder(str).decode


class LineChecker:
    """Checks lines against one set of rules."""

    def __init__(self, rules: LineRules) -> None:
        self._rules = rules
        self._line_bytes_max = rules.line_bytes_max
        endpoints = ENDPOINTS if rules.endpoint is None else (rules.endpoint,)
        self._urls = {None: None} | {url.encode(): url for url in endpoints}
        self._match = _usual_opening(rules, endpoints).match

    def check(self, line: bytes, number: int) -> CheckedLine | Fault | None:
        """Judge one line, given without its line break; None when it is blank.

        Nearly all files are written by a JSON library with the fields in the documented order
        and the body last. Then the body's place is known before anything is parsed, and
        parsing the body alone proves the whole line. What is not recognised as such a line,
        for whatever reason, is examined field by field.
        """
        opening = self._match(line)
        if (
            opening is not None
            and line[-2:] == b"}}"
            and (line.isascii() or _is_utf8(line))
            and len(line) <= self._line_bytes_max
        ):
            body_offset = opening.end()
            try:
                head = _decode_head(line[body_offset:-1])
            except (msgspec.DecodeError, RecursionError):
                return self._examine(line, number)
            if head.model and not head.stream:
                custom_id, url = opening.groups()
                return CheckedLine(
                    head.model,
                    custom_id,
                    body_offset,
                    len(line) - 1 - body_offset,
                    opening.start(1) - 1,
                    len(custom_id) + 2,
                    self._urls[url],
                )
        return self._examine(line, number)

    def _examine(self, line: bytes, number: int) -> CheckedLine | Fault | None:
        if not line.strip(b" \t\r"):
            return None
        try:
            return self._parts(line)
        except _Refused as refused:
            return msgspec.structs.replace(refused.fault, line=number)

    def _parts(self, line: bytes) -> CheckedLine:
        """Raises `_Refused` at the first fault, in the order a reader would look for them."""
        fields = self._fields(line)
        token = bytes(fields.custom_id)
        custom_id = self._custom_id(token)
        self._check_method(bytes(fields.method))
        url = self._url(bytes(fields.url))
        body = bytes(fields.body)
        model = _model(body)
        return CheckedLine(
            model,
            custom_id,
            _locate(line, body, b'"body":'),
            len(body),
            _locate(line, token, b'"custom_id":'),
            len(token),
            url,
        )

    def _fields(self, line: bytes) -> _Fields:
        if len(line) > self._line_bytes_max:
            _refuse(
                "line_too_long",
                f"This line is longer than {self._line_bytes_max:,} bytes; "
                "shorten the request or split it.",
                None,
                line,
            )
        try:
            # What is skipped while decoding is not checked for UTF-8.
            if not line.isascii():
                str(line, "utf-8")
            return _decode_fields(line)
        except UnicodeDecodeError as error:
            _refuse(
                "invalid_utf8",
                f"This line is not UTF-8: byte 0x{line[error.start]:02x} at position "
                f"{error.start} does not belong; save the file as UTF-8.",
                None,
                line[max(0, error.start - EXCERPT_CHARACTERS_MAX // 2) :],
            )
        except msgspec.ValidationError:
            _refuse(
                "invalid_json_line",
                "This line is not a JSON object; each line must be one object "
                'such as {"custom_id": …, "body": {…}}.',
                None,
                line,
            )
        except msgspec.DecodeError as error:
            _refuse_json(line, str(error))
        except RecursionError:
            _refuse(
                "invalid_json_line", "This line's JSON is nested too deeply to be read.", None, line
            )

    def _custom_id(self, token: bytes) -> bytes:
        most = self._rules.custom_id_bytes_max
        right = f"Give each line a string of 1 to {most} bytes, unique in the file."
        if token in _NOTHING:
            _refuse_missing("custom_id", right)
        if token[:1] != b'"':
            _refuse("invalid_custom_id", f"custom_id is not a string. {right}", "custom_id", token)
        plain = b"\\" not in token
        custom_id = token[1:-1] if plain else _decode_string(token).encode()
        if not 0 < len(custom_id) <= most:
            what = "longer than that" if custom_id else "empty"
            _refuse("invalid_custom_id", f"custom_id is {what}. {right}", "custom_id", token)
        return custom_id

    def _check_method(self, token: bytes) -> None:
        if token == b'"POST"':
            return
        right = 'It must be "POST".'
        if token in _NOTHING:
            if self._rules.routed:
                _refuse_missing("method", right)
            return
        value = _string_or_none(token)
        if value == "FILE":
            right = (
                'Requests that name a file by URL are not supported; use "POST" and a JSON body.'
            )
        if value != "POST":
            _refuse("invalid_method", f"method is {_quote(token)}. {right}", "method", token)

    def _url(self, token: bytes) -> str | None:
        endpoint = self._rules.endpoint
        right = f"It must be '{endpoint}', the batch's endpoint."
        if endpoint is None:
            right = f"It must be one of {', '.join(ENDPOINTS)}."
        if token in _NOTHING:
            if self._rules.routed:
                _refuse_missing("url", right)
            return None
        value = _string_or_none(token)
        url = self._urls.get(value.encode()) if value else None
        if url is None:
            _refuse("invalid_url", f"url is {_quote(token)}. {right}", "url", token)
        return url


def _usual_opening(rules: LineRules, endpoints: tuple[str, ...]) -> re.Pattern[bytes]:
    """A line up to its body, as JSON libraries write it: groups are the bare id and the url."""
    need = b"" if rules.routed else b"?"
    urls = b"|".join(re.escape(url.encode()) for url in endpoints)
    return re.compile(
        rb'\{"custom_id": ?"([^"\\\x00-\x1f]{1,%d}+)"' % rules.custom_id_bytes_max
        + rb'(?:, ?"method": ?"POST")%b' % need
        + rb'(?:, ?"url": ?"(%b)")%b' % (urls, need)
        + rb', ?"body": ?(?=\{)'
    )


def _model(body: bytes) -> str:
    """The model a body asks for; refuses what no body may say."""
    if body in _NOTHING:
        _refuse_missing("body", "It must be an object, the request as the endpoint takes it.")
    if body[:1] != b"{":
        _refuse("invalid_request", "body must be an object.", "body", body)
    fields = _decode_body_fields(body)
    stream = bytes(fields.stream)
    if stream not in _NOTHING and stream != b"false":
        _refuse(
            "streaming_unsupported",
            "A batch's replies can not be streamed; leave 'stream' out or set it to false.",
            "body.stream",
            stream,
        )
    model = bytes(fields.model)
    value = _string_or_none(model)
    if not value:
        right = "It must be the name of a model, as a string that is not empty."
        what = "is missing" if model in _NOTHING else f"is {_quote(model)}"
        _refuse("invalid_request", f"body.model {what}. {right}", "body.model", model)
    return value


def _locate(line: bytes, part: bytes, key: bytes) -> int:
    """Where `part` lies in `line`; where it lies twice, either has the same bytes.

    Looking behind the key first is no more than a guess, which spares `find` a preparation
    that costs as much as parsing.
    """
    guess = line.find(key) + len(key)
    if line.startswith(part, guess):
        return guess
    if line.startswith(part, guess + 1):
        return guess + 1
    return line.find(part)


def _is_utf8(line: bytes) -> bool:
    try:
        str(line, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _string_or_none(token: bytes) -> str | None:
    return _decode_string(token) if token[:1] == b'"' else None


def _quote(token: bytes) -> str:
    return _excerpt(token, 40)


def _excerpt(text: bytes, most: int = EXCERPT_CHARACTERS_MAX) -> str:
    """The beginning of `text`, at most `most` characters."""
    shown = text[: most * 4 + 4].decode("utf-8", "replace").strip()
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _refuse(code: str, message: str, param: str | None, text: bytes) -> NoReturn:
    raise _Refused(Fault(code, message, param=param, excerpt=_excerpt(text) or None))


def _refuse_missing(name: str, right: str) -> NoReturn:
    message = f"Missing required parameter: '{name}'. {right}"
    raise _Refused(Fault("missing_required_parameter", message, param=name))


def _refuse_json(line: bytes, error: str) -> NoReturn:
    """`error` is the decoder's; the excerpt begins shortly before the byte it names."""
    reason = error.removeprefix("JSON is malformed: ")
    found = _BYTE_IN_ERROR.search(reason)
    start = max(0, int(found[1]) - EXCERPT_CHARACTERS_MAX // 2) if found else 0
    message = f"This line is not parseable as valid JSON: {reason}."
    _refuse("invalid_json_line", message, None, line[start:])
