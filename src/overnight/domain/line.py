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
from overnight.domain.line_body import HeadDecode, head_decode, model_of, text
from overnight.domain.line_faults import CONTENT_OF, Refused, is_given
from overnight.domain.request import Fault, LineRules

ENDPOINTS: Final = tuple(CONTENT_OF)
"""What a line's `url` may be when the job names no endpoint."""

_ABSENT: Final = Raw(b"")


class CheckedLine(msgspec.Struct, frozen=True, gc=False):
    """A good line. Offsets and lengths are bytes, counted from the start of the line.

    `custom_id` is its value in UTF-8; `id_offset` and `id_bytes` are the JSON string as
    written, quotes and escapes included. `url` is the endpoint that the line names, in full; None
    when it names none.
    """

    model: str
    custom_id: bytes
    body_offset: int
    body_bytes: int
    id_offset: int
    id_bytes: int
    url: str | None


class AlikeLines(msgspec.Struct, frozen=True, gc=False):
    """Good lines in columns, one entry per line; each is what `CheckedLine` says of one."""

    models: list[str]
    custom_ids: list[bytes]
    body_offsets: list[int]
    body_bytes: list[int]
    id_offset: int
    url: str | None


class _Fields(msgspec.Struct, gc=False):
    """A line's fields as written, whatever their types."""

    custom_id: Raw = _ABSENT
    method: Raw = _ABSENT
    url: Raw = _ABSENT
    body: Raw = _ABSENT


_decode_fields: Final = msgspec.json.Decoder(_Fields).decode
_match_bare: Final = re.compile(rb'[^"\\\x00-\x1f]*+').fullmatch


class LineChecker:
    """Checks lines against one set of rules."""

    def __init__(self, rules: LineRules) -> None:
        self._endpoint = rules.endpoint
        self._endpoints = ENDPOINTS if rules.endpoint is None else (rules.endpoint,)
        self._routed = rules.routed
        self._line_bytes_max = rules.line_bytes_max
        self._custom_id_bytes_max = rules.custom_id_bytes_max
        self._routes: dict[bytes | None, tuple[HeadDecode, str | None]] = {
            spelling.encode(): (head_decode(url), url)
            for url in self._endpoints
            for spelling in spellings(url)
        }
        self._routes[None] = head_decode(rules.endpoint), None
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
            custom_id, path = opening.groups()
            decode, url = self._routes[path]
            try:
                head = decode(line[body_offset:-1])
            except (msgspec.DecodeError, RecursionError):
                return self._examine(line, number)
            if head.model and not head.stream:
                return CheckedLine(
                    head.model,
                    custom_id,
                    body_offset,
                    len(line) - 1 - body_offset,
                    opening.start(1) - 1,
                    len(custom_id) + 2,
                    url,
                )
        return self._examine(line, number)

    def check_alike(self, lines: list[bytes]) -> AlikeLines | None:
        """Judge lines together if all are good and written alike; None on any doubt.

        A file is made by one program, and what it writes between an id and a body is the same in
        every line. Doing a step for all lines, and then the next, takes half the time of `check`,
        which is for whatever this is not sure of.
        """
        opening = self._match_opening(lines[0]) if lines else None
        if opening is None:
            return None
        id_start, id_end, body_start = opening.start(1), opening.end(1), opening.end()
        middle_bytes = body_start - id_end
        decode, url = self._routes[opening[2]]
        body_offsets = _body_offsets(lines, id_start, id_end, body_start)
        if body_offsets is None or not self._are_text(lines):
            return None
        places = list(zip(lines, body_offsets, strict=True))
        custom_ids = [line[id_start : start - middle_bytes] for line, start in places]
        bodies = [line[start:-1] for line, start in places]
        if not self._are_bare_ids(custom_ids):
            return None
        try:
            heads = list(map(decode, bodies))
        except (msgspec.DecodeError, RecursionError):
            return None
        models = [head.model for head in heads]
        if not all(models) or any(head.stream for head in heads):
            return None
        body_bytes = list(map(len, bodies))
        return AlikeLines(models, custom_ids, body_offsets, body_bytes, id_start - 1, url)

    def _are_text(self, lines: list[bytes]) -> bool:
        if max(map(len, lines)) > self._line_bytes_max:
            return False
        return all(map(bytes.isascii, lines)) or all(map(_is_utf8, lines))

    def _are_bare_ids(self, custom_ids: list[bytes]) -> bool:
        sizes = list(map(len, custom_ids))
        return (
            min(sizes) > 0
            and max(sizes) <= self._custom_id_bytes_max
            and _match_bare(b"".join(custom_ids)) is not None
        )

    def _examine(self, line: bytes, number: int) -> CheckedLine | Fault | None:
        if not line.strip(b" \t\r"):
            return None
        try:
            return self._parts(line)
        except Refused as refused:
            fault = refused.fault
        except UnicodeDecodeError as error:
            fault = line_faults.not_utf8(line, error)
        except msgspec.DecodeError as error:
            fault = line_faults.not_json(line, error)
        except RecursionError:
            fault = line_faults.too_deep(line)
        return msgspec.structs.replace(fault, line=number)

    def _parts(self, line: bytes) -> CheckedLine:
        """Raises at the first fault: `Refused`, or what the decoders raise."""
        if len(line) > self._line_bytes_max:
            raise Refused(line_faults.too_long(line, self._line_bytes_max))
        if not line.isascii():
            # The decoder skips what it is not asked for without checking its UTF-8.
            str(line, "utf-8")
        fields = _decode_fields(line)
        token = bytes(fields.custom_id)
        custom_id = self._custom_id(line, token)
        self._check_method(line, bytes(fields.method))
        url = self._url(line, bytes(fields.url))
        body = bytes(fields.body)
        model = model_of(line, body, url or self._endpoint)
        return CheckedLine(
            model,
            custom_id,
            _locate(line, body, b'"body":'),
            len(body),
            _locate(line, token, b'"custom_id":'),
            len(token),
            url,
        )

    def _custom_id(self, line: bytes, token: bytes) -> bytes:
        custom_id = text(token)
        if not 0 < len(custom_id) <= self._custom_id_bytes_max:
            raise Refused(line_faults.bad_custom_id(line, token, self._custom_id_bytes_max))
        return custom_id

    def _check_method(self, line: bytes, token: bytes) -> None:
        if token != b'"POST"' and (is_given(token) or self._routed) and text(token) != b"POST":
            raise Refused(line_faults.bad_method(line, token))

    def _url(self, line: bytes, token: bytes) -> str | None:
        route = self._routes.get(text(token))
        if route is None and (is_given(token) or self._routed):
            raise Refused(line_faults.bad_url(line, token, self._endpoints))
        return None if route is None else route[1]


def spellings(endpoint: str) -> tuple[str, ...]:
    """How files and clients write it: those made for Azure leave `/v1` out."""
    return endpoint, endpoint.removeprefix("/v1")


def _usual_opening(rules: LineRules, endpoints: tuple[str, ...]) -> re.Pattern[bytes]:
    """A line up to its body, as JSON libraries write it: groups are the bare id and the url."""
    need = b"" if rules.routed else b"?"
    urls = b"|".join(re.escape(way.encode()) for url in endpoints for way in spellings(url))
    return re.compile(
        rb'\{"custom_id": ?"([^"\\\x00-\x1f]{1,%d}+)"' % rules.custom_id_bytes_max
        + rb'(?:, ?"method": ?"POST")%b' % need
        + rb'(?:, ?"url": ?"(%b)")%b' % (urls, need)
        + rb', ?"body": ?(?=\{)'
    )


def _body_offsets(
    lines: list[bytes], id_start: int, id_end: int, body_start: int
) -> list[int] | None:
    """Where the bodies begin if all lines are written as the first, whose parts begin there."""
    first = lines[0]
    opening, middle = first[:id_start], first[id_end : body_start + 1]
    offsets = []
    for line in lines:
        # Most ids are as long as the one before.
        if line[id_end : body_start + 1] != middle:
            id_end = line.find(b'"', id_start)
            body_start = id_end + len(middle) - 1
            if line[id_end : body_start + 1] != middle:
                return None
        if line[-2:] != b"}}" or line[:id_start] != opening:
            return None
        offsets.append(body_start)
    return offsets


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
