"""One line of an input file: what must hold of it, and where its parts lie.

A line is read as JSON reads it: of a key that appears twice the last one counts. Parts are
given as byte ranges of the line, so that a request is later sent, and its id copied into a
result line, exactly as the user wrote them.
"""

import re
from typing import Final

import msgspec
from msgspec import Raw

from overnight.domain import line_faults
from overnight.domain.line_faults import is_given
from overnight.domain.request import Fault, LineRules

ENDPOINTS: Final = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
"""What a line's `url` may be when the job names no endpoint."""

_ABSENT: Final = Raw(b"")


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


class _HeadFields(msgspec.Struct, gc=False):
    """The same of a body."""

    model: Raw = _ABSENT
    stream: Raw = _ABSENT


class _Refused(Exception):  # noqa: N818  never leaves this module
    """Ends the examination of a line at its first fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


_decode_head: Final = msgspec.json.Decoder(_Head).decode
_decode_fields: Final = msgspec.json.Decoder(_Fields).decode
_decode_head_fields: Final = msgspec.json.Decoder(_HeadFields).decode
_decode_string: Final = msgspec.json.Decoder(str).decode


class LineChecker:
    """Checks lines against one set of rules."""

    def __init__(self, rules: LineRules) -> None:
        self._endpoints = ENDPOINTS if rules.endpoint is None else (rules.endpoint,)
        self._routed = rules.routed
        self._line_bytes_max = rules.line_bytes_max
        self._custom_id_bytes_max = rules.custom_id_bytes_max
        self._urls = {url.encode(): url for url in self._endpoints}
        self._match_opening = _usual_opening(rules, self._endpoints).match

    def check(self, line: bytes, number: int) -> CheckedLine | Fault | None:
        """Judge one line, given without its line break; None when it is blank.

        Nearly all files are written by a JSON library with the fields in the documented order
        and the body last. Then the body's place is known before anything is parsed, and
        parsing the body alone proves the whole line. What is not recognised as such a line,
        for whatever reason, is examined field by field.
        """
        opening = self._match_opening(line)
        if (
            opening is not None
            and line[-2:] == b"}}"
            and len(line) <= self._line_bytes_max
            and (line.isascii() or _is_utf8(line))
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
                    self._urls[url] if url else None,
                )
        return self._examine(line, number)

    def _examine(self, line: bytes, number: int) -> CheckedLine | Fault | None:
        if not line.strip(b" \t\r"):
            return None
        try:
            return self._parts(line)
        except _Refused as refused:
            fault = refused.fault
        except UnicodeDecodeError as error:
            fault = line_faults.not_utf8(line, error)
        except msgspec.DecodeError as error:
            fault = line_faults.not_json(line, error)
        except RecursionError:
            fault = line_faults.too_deep(line)
        return msgspec.structs.replace(fault, line=number)

    def _parts(self, line: bytes) -> CheckedLine:
        """Raises at the first fault: `_Refused`, or what the decoders raise."""
        if len(line) > self._line_bytes_max:
            raise _Refused(line_faults.too_long(line, self._line_bytes_max))
        if not line.isascii():
            # The decoder skips what it is not asked for without checking its UTF-8.
            str(line, "utf-8")
        fields = _decode_fields(line)
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

    def _custom_id(self, token: bytes) -> bytes:
        custom_id = _text(token)
        if not 0 < len(custom_id) <= self._custom_id_bytes_max:
            raise _Refused(line_faults.bad_custom_id(token, self._custom_id_bytes_max))
        return custom_id

    def _check_method(self, token: bytes) -> None:
        if token != b'"POST"' and (is_given(token) or self._routed) and _text(token) != b"POST":
            raise _Refused(line_faults.bad_method(token))

    def _url(self, token: bytes) -> str | None:
        url = self._urls.get(_text(token))
        if url is None and (is_given(token) or self._routed):
            raise _Refused(line_faults.bad_url(token, self._endpoints))
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
    """The model a body asks for; raises `_Refused` for what no body may say."""
    if body[:1] != b"{":
        raise _Refused(line_faults.bad_body(body))
    try:
        head = _decode_head(body)
        if head.model and not head.stream:
            return head.model
    except msgspec.ValidationError:
        pass  # A field has another type; which one is found out below.
    fields = _decode_head_fields(body)
    stream = bytes(fields.stream)
    if is_given(stream) and stream != b"false":
        raise _Refused(line_faults.streaming(stream))
    token = bytes(fields.model)
    model = _text(token)
    if not model:
        raise _Refused(line_faults.bad_model(token))
    return model.decode()


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


def _text(token: bytes) -> bytes:
    """The value of a JSON string in UTF-8; empty for any other token."""
    if token[:1] != b'"':
        return b""
    return _decode_string(token).encode() if b"\\" in token else token[1:-1]


def _is_utf8(line: bytes) -> bool:
    try:
        str(line, "utf-8")
    except UnicodeDecodeError:
        return False
    return True
