"""All result lines of a segment at once, for putting them in order.

What a segment holds is read frame by frame and in columns, for a fraction of what
`segment.index_segment` costs. It is for segments without oddities, and knows when one has some.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Generic, NamedTuple, TypeVar

from xxhash import xxh3_64

from overnight.dispatch.segment import ENTRY_FIELDS, Frame, read_frames
from overnight.domain.plan import signed64, uint32_fields
from overnight.domain.request import OutcomeKind
from overnight.seams import ReadFile


class Place(NamedTuple):
    """Where a line lies in its segment."""

    offset: int
    line_bytes: int


T = TypeVar("T")


@dataclass(slots=True)
class WholeSegment(Generic[T]):
    """`lines` are by line number, or where they lie; tokens are those of the successes."""

    lines: dict[int, T] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    retries: int = 0
    size: int = 0
    digest: int = 0


def read_whole(file: ReadFile) -> WholeSegment[bytes] | None:
    """The lines of a segment, which are then in memory, by line number.

    None when a line has two outcomes, or a frame is not filled by its lines. What is torn at the
    end is left out. Raises `Corrupt` when the disk has lost some of it.
    """
    return _read(file, _lines)


def find_whole(file: ReadFile) -> WholeSegment[Place] | None:
    """As `read_whole`, but no line is kept."""
    return _read(file, _places)


def _lines(_: Frame, payload: bytes, ends: Sequence[int], sizes: Iterable[int]) -> list[bytes]:
    return [payload[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def _places(frame: Frame, payload: bytes, ends: Sequence[int], sizes: Iterable[int]) -> list[Place]:
    start = frame.end - len(payload)
    return [Place(start + end - size, size) for end, size in zip(ends, sizes, strict=True)]


def _read(
    file: ReadFile, cut: Callable[[Frame, bytes, Sequence[int], Iterable[int]], list[T]]
) -> WholeSegment[T] | None:
    whole, headers, outcomes = WholeSegment[T](), xxh3_64(), 0
    for frame, payload in read_frames(file):
        headers.update(frame.header)
        whole.size = frame.end
        fields = uint32_fields(frame.table)
        numbers, sizes, kinds, prompts, completions = (
            fields[column::ENTRY_FIELDS] for column in range(ENTRY_FIELDS)
        )
        table_end, *ends = accumulate(sizes, initial=len(frame.table))
        if (ends[-1] if ends else table_end) != len(payload):
            return None
        lines = cut(frame, payload, ends, sizes)
        if any(kinds):
            rows = zip(numbers, lines, kinds, prompts, completions, strict=True)
            outcomes += _sort_out(whole, rows)
            continue
        whole.lines.update(zip(numbers, lines, strict=True))
        whole.prompt_tokens += sum(prompts)
        whole.completion_tokens += sum(completions)
        outcomes += len(lines)
    whole.digest = signed64(headers.intdigest())
    return whole if outcomes == len(whole.lines) else None


def _sort_out(whole: WholeSegment[T], rows: Iterable[tuple[int, T, int, int, int]]) -> int:
    """Take a frame that holds more than successes; returns how many outcomes it has."""
    outcomes = 0
    for number, line, kind, prompt_tokens, completion_tokens in rows:
        if kind == OutcomeKind.RETRY:
            whole.retries += 1
        elif kind <= OutcomeKind.FAILURE:
            outcomes += 1
            whole.lines[number] = line
            if kind == OutcomeKind.FAILURE:
                whole.failed.add(number)
            else:
                whole.prompt_tokens += prompt_tokens
                whole.completion_tokens += completion_tokens
    return outcomes
