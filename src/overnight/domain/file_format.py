"""What a file is that is not a file of batch requests: told by how it begins.

Ten thousand faulty lines with one cause are one fault, which names the cause and the cure.
"""

import re
from typing import Final

import msgspec

from overnight.domain.excerpts import beginning, excerpt
from overnight.domain.fault_codes import FaultCode
from overnight.domain.line_kinds import kind_of
from overnight.domain.request import Fault

HEAD_BYTES: Final = 256 * 1024
"""As much of a file as is looked at."""

_LINES_LOOKED_AT: Final = 5
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_BLANK: Final = b" \t\r"

_MAGIC: Final = (
    (b"\x1f\x8b", "compressed with gzip", "Unpack it first: gunzip FILE."),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "Unpack it first: unzstd FILE."),
    (b"BZh", "compressed with bzip2", "Unpack it first: bunzip2 FILE."),
    (b"\xfd7zXZ\x00", "compressed with xz", "Unpack it first: unxz FILE."),
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet", "Unpack it, or export its rows as JSONL."),
    (b"PAR1", "a Parquet file", "Write a JSON line per row, such as with pandas and json.dumps()."),
    (
        b"ARROW1",
        "an Arrow file",
        "Write a JSON line per row, such as with pandas and json.dumps().",
    ),
    (b"SQLite format 3\x00", "a SQLite database", "Export its rows as JSONL."),
    (b"%PDF-", "a PDF document", "Give a file with one JSON object per line."),
)

_ONE_PER_LINE: Final = "Write one JSON object per line."
_IN_PYTHON: Final = "Write each line with json.dumps() instead of str()."

_python_repr: Final = re.compile(rb"\{\s*'").match
_typographic: Final = re.compile(rb"\{\s*\xe2\x80[\x98-\x9f]").match
_split_objects: Final = re.compile(rb"\r\s*\{").search
_delimiter: Final = re.compile(rb"[,;\t|]").search


def foreign_format(head: bytes) -> Fault | None:
    """The one fault of a file that begins with `head`, its first `HEAD_BYTES`.

    None when it begins as a file of requests does, and when it is nothing that is known: then
    its lines are judged one by one.
    """
    return _binary(head) or _text(head.removeprefix(_BYTE_ORDER_MARK), len(head) < HEAD_BYTES)


def _binary(head: bytes) -> Fault | None:
    for magic, what, right in _MAGIC:
        if head.startswith(magic):
            return _not_jsonl(what, right)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or _every_other_is_nul(head[:256]):
        return _not_jsonl("UTF-16", "Save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE.")
    if b"\x00" in head[:1024]:
        return _not_jsonl("not text", _ONE_PER_LINE)
    return None


def _every_other_is_nul(start: bytes) -> bool:
    return len(start) >= 4 and any(not start[i::2].strip(b"\x00") for i in (0, 1))


def _text(head: bytes, whole: bool) -> Fault | None:
    lines = _first_lines(head, whole)
    if not lines:
        return None
    first = lines[0]
    if first[:1] == b"[":
        right = "Write its elements on a line each: jq -c '.[]' FILE."
        return _not_jsonl("one JSON array", right, first)
    if first[:1] == b"<":
        return _not_jsonl("a web page or XML", _ONE_PER_LINE, first)
    if any(line[:1] == b"{" for line in lines):
        return _damaged_json(lines) or _other_requests(lines)
    if len(lines) == 1:
        return None
    if _delimiter(first) and all(map(_delimiter, lines)):
        right = "Write a JSON line per row, such as with csv.DictReader and json.dumps()."
        return _not_jsonl("a table such as CSV", right, first)
    return _not_jsonl("plain text", _ONE_PER_LINE, first)


def _first_lines(head: bytes, whole: bool) -> list[bytes]:
    """Some lines that are not blank; the last may be cut off, and then counts only if alone."""
    lines = head.split(b"\n")
    if not whole and len(lines) > 1:
        lines.pop()
    filled = (line.strip(_BLANK) for line in lines)
    return [line for line in filled if line][:_LINES_LOOKED_AT]


def _damaged_json(lines: list[bytes]) -> Fault | None:
    """Lines that would be JSON, were they not all written in the same wrong way."""
    first = lines[0]
    if all(map(_python_repr, lines)):
        return _not_jsonl("Python literals, not JSON", _IN_PYTHON, first)
    if all(map(_typographic, lines)):
        right = 'Write plain double quotes ("), and save it as text.'
        return _not_jsonl("written with typographic quotes", right, first)
    if len(lines) == 1 and _split_objects(first):
        right = "Save it with line feeds: tr '\\r' '\\n' < FILE."
        return _not_jsonl("one line, for its line breaks are carriage returns", right, first)
    if first[-1:] in b"{[,:" and len(lines) > 1 and lines[1][:1] != b"{" and not _is_json(first):
        right = "Write each object on one line: jq -c . FILE."
        return _not_jsonl("JSON written over several lines", right, first)
    if len(lines) > 1 and all(line.endswith(b"},") for line in lines):
        right = "Each line stands alone: remove the commas at their ends."
        return _not_jsonl("the inside of a JSON array", right, first)
    return None


def _other_requests(lines: list[bytes]) -> Fault | None:
    kinds = {kind_of(line) for line in lines}
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind is None:
        return None
    message = f"Each line of this file is {kind.what}, not a batch request. {kind.right}"
    return Fault(FaultCode.NOT_REQUESTS, message, excerpt=beginning(lines[0]))


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _not_jsonl(what: str, right: str, first: bytes = b"") -> Fault:
    message = f"This file is {what}; it must be JSONL. {right}"
    return Fault(FaultCode.NOT_JSONL, message, excerpt=excerpt(first).text)
