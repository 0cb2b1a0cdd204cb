"""A segment read at once says what it says read outcome by outcome."""

from dataclasses import replace
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from overnight.dispatch.segment import begin_segment, index_segment, segment_path
from overnight.dispatch.whole_segment import find_whole, read_whole
from overnight.domain.job import Counts
from overnight.domain.request import OutcomeKind
from support.memory_disk import MemoryDisk

FOLDER = Path("segments")
S, F, RETRY = OutcomeKind.SUCCESS, OutcomeKind.FAILURE, OutcomeKind.RETRY

entries = st.tuples(
    st.integers(1, 30),
    st.sampled_from([S, S, S, F, RETRY, OutcomeKind.ALONE, OutcomeKind.SPARED]),
    st.binary(max_size=20),
    st.integers(0, 9),
)
Frames = list[list[tuple[int, OutcomeKind, bytes, int]]]


@given(st.lists(st.lists(entries, min_size=1, max_size=6), max_size=5), st.integers(0, 40))
@example([[(1, S, b"a", 2), (3, S, b"b", 2)], [(2, S, b"c", 1)]], 0)
@example([[(1, S, b"a", 2), (3, F, b"b", 0), (2, RETRY, b"", 0)], [(2, S, b"c", 1)]], 0)
@example([[(1, S, b"a", 2)], [(1, S, b"b", 2)]], 0)
def test_it_is_what_the_index_says(frames: Frames, torn_bytes: int) -> None:
    disk = MemoryDisk()
    writer, _ = begin_segment(disk, FOLDER, 0, 1)
    for frame in frames:
        for number, kind, line, tokens in frame:
            writer.add(number, kind, b"" if kind > F else line, tokens, 2 * tokens)
        writer.flush()
    data = disk.files[segment_path(FOLDER, 0, 1)]
    del data[len(data) - min(torn_bytes, len(data)) :]
    file = disk.open(segment_path(FOLDER, 0, 1))

    index, whole, found = index_segment(file), read_whole(file), find_whole(file)

    kept = [each for end, frame in zip(_ends(frames), frames, strict=True) for each in frame
            if end <= index.size]  # fmt: skip
    numbers = [number for number, kind, _, _ in kept if kind <= F]
    if len(set(numbers)) < len(numbers):
        assert whole is found is None
        return
    assert whole is not None
    assert found is not None
    assert {number: file.read_at(*place) for number, place in found.lines.items()} == whole.lines
    assert replace(found, lines=whole.lines) == whole
    assert whole.lines == {
        number: file.read_at(entry.offset, entry.line_bytes)
        for number, entry in index.outcomes.items()
    }
    assert whole.failed == {n for n, entry in index.outcomes.items() if entry.kind == F}
    failed = len(whole.failed)
    succeeded = len(whole.lines) - failed
    tokens = whole.prompt_tokens, whole.completion_tokens
    assert Counts(succeeded, failed, *tokens, whole.retries) == index.counts
    assert (whole.size, whole.digest) == (index.size, index.digest)


def _ends(frames: Frames) -> list[int]:
    ends, end = [], 0
    for frame in frames:
        end += 24 + sum(20 + (len(line) if kind <= F else 0) for _, kind, line, _ in frame)
        ends.append(end)
    return ends
