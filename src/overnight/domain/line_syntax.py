"""Why a line is not JSON, in the words of what people do wrong rather than of a parser."""

import re
from typing import Final, NamedTuple

_BYTE_IN_REASON: Final = re.compile(r" \(byte (\d+)\)$")
_WORD: Final = re.compile(rb"[\w.+-]+|[\xc0-\xff][\x80-\xbf]*|[^\s\w]")
_WORD_BYTES_MAX: Final = 16
_WORD_BEFORE: Final = re.compile(rb"[\w.+-]+\Z")
_LONE_SURROGATE: Final = re.compile(
    rb"(?<!\\)\\u[dD](?:[89abAB]..(?!\\u[dD][c-fC-F])|[c-fC-F]..)", re.DOTALL
)

_BY_TEXT: Final = (
    (rb"-?(?:NaN|Infinity)\b", "NaN and Infinity are not JSON; write a number or null"),
    (rb"(?:None|True|False)\b", "this is Python, not JSON; write the line with json.dumps()"),
    (rb"'", "strings need double quotes; in Python write the line with json.dumps()"),
    (
        rb"\xe2\x80[\x98-\x9f]|\xc2[\xab\xbb]",
        "these are typographic quotes; write plain double ones",
    ),
    (rb"//|/\*|#", "JSON has no comments; remove this one"),
    (rb"\xef\xbb\xbf", "there is a byte order mark, as of joined files; remove it"),
    (rb"[A-Za-z_][\w-]*\s*:", "names need double quotes"),
    (rb"[\x00-\x1f]", "control characters must be escaped, such as a tab as \\t"),
)
"""What stands where reading ended, and what to say of it."""

_BY_REASON: Final = (
    ("trailing characters", rb",\s*$", "the line ends with a comma; lines stand alone"),
    ("trailing characters", rb",?\s*\{", "a second object begins here; give each its own line"),
    ("trailing characters", rb"", "the object has ended before this; remove the rest"),
    ("trailing comma", rb"", "there is a comma before this; remove it"),
    ("invalid escaped character", rb"", "a backslash in a string must be written \\\\"),
)


class SyntaxFault(NamedTuple):
    what: str
    start: int
    end: int


def explained(line: bytes, reason: str) -> SyntaxFault:
    """`reason` is the decoder's, which ends with the place: `… (byte 6)`."""
    # Whatever the decoder makes of the half of a pair, it takes what follows for the other.
    lone = _LONE_SURROGATE.search(line)
    found = _BYTE_IN_REASON.search(reason)
    if lone and (found is None or "surrogate" in reason or "hex escape" in reason):
        return SyntaxFault("this is half of a surrogate pair", lone.start(), lone.end())
    if found is None:
        return _ended_early(line)
    # Of what follows the object the decoder has already read a byte.
    place = int(found[1]) - ("trailing characters" in reason)
    if line[place : place + 1].isalnum():
        before = _WORD_BEFORE.search(line[:place][-_WORD_BYTES_MAX:])
        place -= len(before[0]) if before else 0
    word = _WORD.match(line, place)
    return SyntaxFault(_said(line, place, reason), place, word.end() if word else place + 1)


def _said(line: bytes, place: int, reason: str) -> str:
    for begins, pattern, what in _BY_REASON:
        if begins in reason and re.compile(pattern).match(line, place):
            return what
    for pattern, what in _BY_TEXT:
        if re.compile(pattern).match(line, place):
            return what
    return reason.removeprefix("JSON is malformed: ")


def _ended_early(line: bytes) -> SyntaxFault:
    what = "it ends too early; a line break inside a string must be written \\n"
    end = len(line.rstrip())
    return SyntaxFault(what, end, end + 1)
