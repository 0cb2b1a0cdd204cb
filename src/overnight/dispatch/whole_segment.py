"""All result lines of a segment at once, for putting them in order.

What a segment holds is read frame by frame and in columns, for a fraction of what
`segment.index_segment` costs. It is for segments without oddities, and knows when one has some.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate

from xxhash import xxh3_64

from overnight.dispatch.segment import ENTRY_FIELDS, read_frames
from overnight.domain.plan import signed64, uint32_fields
from overnight.domain.request import OutcomeKind
from overnight.seams import ReadFile


@dataclass(slots=True)
class WholeSegment:
    """`lines` are by line number; tokens are those of the successes."""

    lines: dict[int, bytes] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    retries: int = 0
    size: int = 0
    digest: int = 0


def read_whole(file: ReadFile) -> WholeSegment | None:
    """None when a line has two outcomes, or a frame is not filled by its lines.

    What is torn at the end is left out. Raises `Corrupt` when the disk has lost some of it.
    """
    whole, headers, outcomes = WholeSegment(), xxh3_64(), 0
    for frame, payload in read_frames(file):
        headers.update(frame.header)
        whole.size = frame.end
        fields = uint32_fields(frame.table)
        numbers, sizes, kinds, prompts, completions = (
            fields[column::ENTRY_FIELDS] for column in range(ENTRY_FIELDS)
        )
        ends = list(accumulate(sizes, initial=len(frame.table)))
        if ends[-1] != len(payload):
            return None
        lines = [payload[end - size : end] for end, size in zip(ends[1:], sizes, strict=True)]
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


def _sort_out(whole: WholeSegment, rows: Iterable[tuple[int, bytes, int, int, int]]) -> int:
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
