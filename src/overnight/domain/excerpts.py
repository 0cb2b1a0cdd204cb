"""Pieces of a user's text that are short enough to be shown, and safe to be."""

from typing import Final, NamedTuple

EXCERPT_CHARACTERS_MAX: Final = 70
"""With a line number before it, it fits a terminal of 80 columns."""

_MARKED_CHARACTERS_MAX: Final = 40
_UTF8_BYTES_MAX: Final = 4
_BLANK: Final = b" \t\r"


class Excerpt(NamedTuple):
    text: str | None
    marked: tuple[int, int] | None
    """From which to which character of `text` the part in question reaches."""


def shortened(text: str, characters_max: int = EXCERPT_CHARACTERS_MAX) -> str:
    """`text`, or its beginning and an ellipsis; without what could steer a terminal."""
    cut = text if len(text) <= characters_max else text[: characters_max - 1] + "…"
    return cut if cut.isprintable() else "".join(c if c.isprintable() else "�" for c in cut)


def beginning(line: bytes, characters_max: int = EXCERPT_CHARACTERS_MAX) -> str:
    return shortened(_first(line.strip(_BLANK), characters_max + 1), characters_max)


def excerpt(line: bytes, start: int = 0, end: int = 0) -> Excerpt:
    """The line, shortened on both sides of the bytes from `start` to `end`, which are marked.

    With nothing to mark it is the line's beginning.
    """
    line = line.rstrip(_BLANK)
    if not start < end:
        return Excerpt(beginning(line) or None, None)
    marked = shortened(_first(line[start:end], _MARKED_CHARACTERS_MAX + 1), _MARKED_CHARACTERS_MAX)
    before, after = _last(line[:start].lstrip(_BLANK)), _first(line[end:])
    room = EXCERPT_CHARACTERS_MAX - max(1, len(marked))
    shown_after = min(len(after), room - min(len(before), room // 2))
    shown_before = min(len(before), room - shown_after)
    lead = before if len(before) == shown_before else f"…{before[len(before) - shown_before + 1 :]}"
    text = f"{lead}{marked}{shortened(after, shown_after) if shown_after else ''}"
    # Past the end of a line that ends too early there is nothing, but a mark still shows where.
    return Excerpt(shortened(text), (len(lead), len(lead) + max(1, len(marked))))


def _first(text: bytes, characters: int = EXCERPT_CHARACTERS_MAX + 1) -> str:
    return text[: _UTF8_BYTES_MAX * (characters + 1)].decode("utf-8", "replace")[:characters]


def _last(text: bytes, characters: int = EXCERPT_CHARACTERS_MAX + 1) -> str:
    return text[-_UTF8_BYTES_MAX * (characters + 1) :].decode("utf-8", "replace")[-characters:]
