"""Segments keep what was flushed, whatever happens to the rest."""

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.dispatch.segment import (
    SegmentIndex,
    SegmentWriter,
    begin_segment,
    index_segment,
    open_latest,
    read_frames,
    segment_path,
)
from overnight.domain.request import OutcomeKind
from overnight.seams import SystemDisk
from support.memory_disk import MemoryDisk

FOLDER = Path("segments")
FIRST = segment_path(FOLDER, 0, 1)

outcomes = st.tuples(
    st.integers(1, 9),
    st.sampled_from([OutcomeKind.SUCCESS, OutcomeKind.FAILURE]),
    st.binary(max_size=40),
)
frames = st.lists(st.lists(outcomes, min_size=1, max_size=4), min_size=1, max_size=5)
Frames = list[list[tuple[int, OutcomeKind, bytes]]]


def write(disk: MemoryDisk, contents: Frames, epoch: int = 1) -> tuple[SegmentWriter, list[int]]:
    """Write one frame per list; returns where each of them ends."""
    writer, _ = begin_segment(disk, FOLDER, 0, epoch)
    ends = [writer.size]
    for frame in contents:
        for number, kind, line in frame:
            writer.add(number, kind, line, 3, 4)
        writer.flush()
        ends.append(writer.size)
    return writer, ends


def read(disk: MemoryDisk, path: Path = FIRST) -> SegmentIndex:
    file = disk.open(path)
    try:
        return index_segment(file)
    finally:
        file.close()


def lines(disk: MemoryDisk, path: Path = FIRST) -> dict[int, tuple[int, bytes]]:
    file = disk.open(path)
    index = index_segment(file)
    return {
        number: (entry.kind, file.read_at(entry.offset, entry.line_bytes))
        for number, entry in index.outcomes.items()
    }


def first_of_each(contents: Frames) -> dict[int, tuple[int, bytes]]:
    found: dict[int, tuple[int, bytes]] = {}
    for frame in contents:
        for number, kind, line in frame:
            found.setdefault(number, (kind, line))
    return found


@given(frames)
def test_what_was_flushed_is_read_back_and_the_first_outcome_wins(contents: Frames) -> None:
    disk = MemoryDisk()
    writer, _ = write(disk, contents)
    assert lines(disk) == first_of_each(contents)
    index = read(disk)
    assert (index.size, index.digest) == (writer.size, writer.digest)
    assert {(e.prompt_tokens, e.completion_tokens) for e in index.outcomes.values()} == {(3, 4)}


@given(frames, st.data())
def test_of_a_torn_segment_the_whole_frames_remain(contents: Frames, data: st.DataObject) -> None:
    disk = MemoryDisk()
    _, ends = write(disk, contents)
    cut = data.draw(st.integers(0, ends[-1]))
    del disk.files[FIRST][cut:]
    whole = sum(end <= cut for end in ends) - 1
    assert lines(disk) == first_of_each(contents[:whole])
    assert read(disk).size == ends[whole]


@given(frames, st.data())
def test_a_changed_bit_ends_the_segment_before_its_frame(
    contents: Frames, data: st.DataObject
) -> None:
    disk = MemoryDisk()
    _, ends = write(disk, contents)
    place = data.draw(st.integers(0, ends[-1] - 1))
    disk.files[FIRST][place] ^= 1 << data.draw(st.integers(0, 7))
    whole = sum(end <= place for end in ends) - 1
    assert lines(disk) == first_of_each(contents[:whole])


@given(frames, st.binary(max_size=100) | st.just(bytes(4096)))
def test_rubbish_after_the_last_frame_is_nothing(contents: Frames, rubbish: bytes) -> None:
    disk = MemoryDisk()
    _, ends = write(disk, contents)
    disk.files[FIRST] += rubbish
    assert read(disk).size == ends[-1]


@given(frames, frames, st.data())
def test_a_takeover_copies_exactly_the_good_frames(
    before: Frames, after: Frames, data: st.DataObject
) -> None:
    disk = MemoryDisk()
    _, ends = write(disk, before)
    cut = data.draw(st.integers(0, ends[-1]))
    del disk.files[FIRST][cut:]
    good = before[: sum(end <= cut for end in ends) - 1]
    writer, index = begin_segment(disk, FOLDER, 0, 5)
    second = segment_path(FOLDER, 0, 5)
    assert disk.files[second] == disk.files[FIRST][: index.size]
    assert index.outcomes.keys() == first_of_each(good).keys()
    for frame in after:
        for number, kind, line in frame:
            writer.add(number, kind, line, 0, 0)
        writer.flush()
    assert lines(disk, second) == first_of_each(good + after)
    settled = index_segment(disk.open(second))
    assert (settled.size, settled.digest) == (writer.size, writer.digest)
    assert settled.outcomes.keys() == first_of_each(good + after).keys()


def test_what_the_old_writer_still_does_reaches_nobody() -> None:
    disk = MemoryDisk()
    old, _ = write(disk, [[(1, OutcomeKind.SUCCESS, b"one")]])
    begin_segment(disk, FOLDER, 0, 2)
    old.add(2, OutcomeKind.SUCCESS, b"two", 0, 0)
    old.flush()
    assert lines(disk, segment_path(FOLDER, 0, 2)).keys() == {1}


def test_a_takeover_that_died_halfway_is_begun_anew() -> None:
    disk = MemoryDisk()
    write(disk, [[(1, OutcomeKind.SUCCESS, b"one")]])
    draft = segment_path(FOLDER, 0, 2)
    disk.files[draft.with_name(draft.name + ".draft")] = bytearray(b"half a fra")
    begin_segment(disk, FOLDER, 0, 2)
    assert lines(disk, draft).keys() == {1}
    assert disk.list_folder(FOLDER) == [FIRST.name, draft.name]


def test_the_latest_segment_is_that_of_the_highest_epoch_allowed() -> None:
    disk = MemoryDisk()
    for epoch, number in ((1, 1), (4, 4)):
        write(disk, [[(number, OutcomeKind.SUCCESS, b"x")]], epoch)
    assert open_latest(disk, FOLDER, 0, 3) is not None
    assert open_latest(disk, FOLDER, 1, 9) is None
    file = open_latest(disk, FOLDER, 0, 9)
    assert file is not None
    assert 4 in index_segment(file).outcomes


def test_digests_tell_contents_apart() -> None:
    digests = set()
    for kind, line in ((OutcomeKind.SUCCESS, b"a"), (OutcomeKind.SUCCESS, b"b"), (1, b"a")):
        writer, _ = write(MemoryDisk(), [[(1, OutcomeKind(kind), line)]])
        digests.add(writer.digest)
    assert len(digests) == 3


# A full disk


def test_a_full_disk_loses_nothing_that_was_added() -> None:
    disk = MemoryDisk()
    writer, _ = write(disk, [[(1, OutcomeKind.SUCCESS, b"one")]])
    disk.full = True
    writer.add(2, OutcomeKind.FAILURE, b"two", 0, 0)
    with pytest.raises(OSError, match="no room"):
        writer.flush()
    assert writer.pending
    assert lines(disk).keys() == {1}
    disk.full = False
    writer.flush()
    assert lines(disk).keys() == {1, 2}
    assert read(disk).digest == writer.digest


def test_a_note_refused_by_a_full_disk_leaves_no_trace() -> None:
    disk = MemoryDisk()
    writer, _ = write(disk, [])
    disk.full = True
    with pytest.raises(OSError, match="no room"):
        writer.note(7, OutcomeKind.ALONE)
    assert not writer.pending
    disk.full = False
    writer.add(1, OutcomeKind.SUCCESS, b"one", 0, 0)
    writer.flush()
    assert read(disk).lone_sendings == {}


def test_a_takeover_on_a_full_disk_leaves_no_file_open() -> None:
    disk = MemoryDisk()
    writer, _ = write(disk, [[(1, OutcomeKind.SUCCESS, b"one")]])
    writer.close()
    disk.full = True
    with pytest.raises(OSError, match="no room"):
        begin_segment(disk, FOLDER, 0, 2)
    assert disk.opened == 0


# Requests sent alone

notes = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from([OutcomeKind.ALONE, OutcomeKind.SPARED]))
)


@given(notes)
def test_lone_sendings_are_counted_until_they_come_back(
    noted: list[tuple[int, OutcomeKind]],
) -> None:
    disk = MemoryDisk()
    writer, _ = begin_segment(disk, FOLDER, 0, 1)
    expected = dict.fromkeys((1, 2, 3), 0)
    for number, kind in noted:
        writer.note(number, kind)
        change = 1 if kind is OutcomeKind.ALONE else -1
        expected[number] = max(0, expected[number] + change)
    index = read(disk)
    assert {number: index.lone_sendings.get(number, 0) for number in (1, 2, 3)} == expected
    assert index.outcomes == {}


# The real thing


def test_on_a_real_disk(tmp_path: Path) -> None:
    disk = SystemDisk()
    writer, _ = begin_segment(disk, tmp_path, 3, 1)
    writer.add(1, OutcomeKind.SUCCESS, b"one\n", 5, 6)
    writer.flush()
    writer.sync()
    writer.close()
    writer, index = begin_segment(disk, tmp_path, 3, 2)
    writer.close()
    assert index.outcomes.keys() == {1}
    file = disk.open(segment_path(tmp_path, 3, 2))
    assert [frame.end for frame, _ in read_frames(file)] == [index.size]
    file.close()
    with pytest.raises(FileExistsError) as error:
        disk.create(segment_path(tmp_path, 3, 2))
    assert error.value.errno == errno.EEXIST
