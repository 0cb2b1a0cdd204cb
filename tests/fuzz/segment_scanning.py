"""Segments that were damaged in any way: what is read was written, whatever comes before the damage
is read, a takeover copies no more than that, and what is salvaged behind it was written too."""

from pathlib import Path
from typing import Final, NamedTuple

from fuzz.target import Target
from overnight.dispatch.segment import (
    Entry,
    begin_segment,
    index_damaged,
    index_segment,
    read_frames,
    segment_path,
)
from overnight.domain.request import OutcomeKind
from support.memory_disk import MemoryDisk

FOLDER: Final = Path("segments")
OLD: Final = segment_path(FOLDER, 0, 1)
NEW: Final = segment_path(FOLDER, 0, 2)
FRAMES_MAX: Final = 8


class _Written(NamedTuple):
    data: bytes
    ends: list[int]
    """Of its frames."""
    outcomes: set[tuple[int, int, int, int, bytes]]
    """Line number, kind, tokens of both sorts, and the line."""


def check(data: bytes) -> None:
    """A byte tells how much of the rest is what to write; what follows is how to damage it. With
    none of both the bytes are read as they are."""
    if not data:
        return
    size, rest = data[0], data[1:]
    if not size:
        _read(rest, _Written(b"", [], set()))
        return
    written = _write(rest[:size])
    torn = damaged(written.data, rest[size:])
    found = _read(torn, written)
    sound = _shared(written.data, torn)
    whole = sum(1 for end in written.ends if end <= sound)
    assert found >= whole, f"{found} frames are read, though {whole} are whole"


def _write(plan: bytes) -> _Written:
    """Three bytes an outcome: its line, its kind, and how long it is; 0 flushes."""
    disk = MemoryDisk()
    writer, _ = begin_segment(disk, FOLDER, 0, 1)
    ends, outcomes = [], set()
    for place in range(0, len(plan) - 2, 3):
        number, kind, length = plan[place : place + 3]
        line = bytes([number, kind]) * (length // 2)
        writer.add(number, kind % len(OutcomeKind), line, length, kind)
        outcomes.add((number, kind % len(OutcomeKind), length, kind, line))
        if length % 3 == 0:
            writer.flush()
            ends.append(writer.size)
    if writer.pending:
        writer.flush()
        ends.append(writer.size)
    return _Written(bytes(disk.files[OLD]), ends, outcomes)


def damaged(data: bytes, orders: bytes) -> bytes:
    """Five bytes an order: what to do, where, how much, and with what."""
    for place in range(0, len(orders) - 4, 5):
        what, high, low, length, value = orders[place : place + 5]
        start = (high << 8 | low) % (len(data) + 1)
        end = start + length
        match what % 6:
            case 0:
                data = data[:start]
            case 1:
                data = data[:start] + bytes([value]) * len(data[start:end]) + data[end:]
            case 2:
                data = data[:start] + data[end:]
            case 3:
                data = data[:end] + data[start:]
            case 4:
                data = data[:start] + bytes(each ^ value for each in data[start:end]) + data[end:]
            case _:
                data += data[start:]
        data = data[: 1 << 16]
    return data


def _read(torn: bytes, written: _Written) -> int:
    """The number of frames, all of which were written."""
    disk = MemoryDisk()
    disk.files[OLD] = bytearray(torn)
    file = disk.open(OLD)
    frames = list(read_frames(file))
    assert len(frames) * 24 <= len(torn), "more frames than there is room for"
    for frame, _ in frames:
        for entry in frame.entries:
            assert _outcome(entry, torn) in written.outcomes, f"{entry} was never written"
    index = index_segment(file)
    assert index.outcomes == _firsts([entry for frame, _ in frames for entry in frame.entries])
    salvaged = index_damaged(file)
    assert salvaged.outcomes.keys() >= index.outcomes.keys()
    for entry in salvaged.outcomes.values():
        assert _outcome(entry, torn) in written.outcomes, f"{entry} was never written"
    writer, copied = begin_segment(disk, FOLDER, 0, 2)
    assert bytes(disk.files[NEW]) == torn[: index.size]
    assert (copied.counts, copied.size, copied.digest) == (index.counts, index.size, index.digest)
    assert writer.digest == index.digest
    counts = index.counts
    assert counts.succeeded + counts.failed == len(index.outcomes)
    return len(frames)


def _firsts(entries: list[Entry]) -> dict[int, Entry]:
    """Of each line its first outcome, the one that counts."""
    outcomes = [entry for entry in entries if entry.kind <= OutcomeKind.FAILURE]
    return {entry.line_number: entry for entry in reversed(outcomes)}


def _outcome(entry: Entry, data: bytes) -> tuple[int, int, int, int, bytes]:
    line = data[entry.offset : entry.offset + entry.line_bytes]
    tokens = entry.prompt_tokens, entry.completion_tokens
    return (entry.line_number, entry.kind, *tokens, line)


def _shared(one: bytes, other: bytes) -> int:
    """How long both begin alike."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))


TARGET: Final = Target("segment_scanning", check, words=(b"ONs1",), bytes_max=300)
