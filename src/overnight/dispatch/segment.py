"""Segments: the append-only journal of one shard under one epoch.

A segment is a sequence of frames, one per flush:

    magic · epoch · outcomes · payload bytes · xxh3-64 of all that         the header
    line number · line bytes · kind · prompt tokens · completion tokens    per outcome
    the finished result lines                                              one after the other

A reader walks frames and stops at the first that is short or wrong: what follows was never
promised to anyone. No JSON is parsed to recover. The first outcome of a line wins.

A segment is created exclusively and written by its own epoch alone. A takeover copies the
predecessor's good frames under a temporary name and renames it once it is synced; so a segment
that has its name holds everything its predecessors had.
"""

import errno
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple

from xxhash import xxh3_64, xxh3_64_intdigest

from overnight.domain.errors import Corrupt
from overnight.domain.job import Counts
from overnight.domain.plan import signed64
from overnight.domain.request import OutcomeKind
from overnight.seams import AppendFile, Disk, ReadFile

_HEADER: Final = struct.Struct("<4sIIIQ")
_ENTRY: Final = struct.Struct("<IIIII")
_MAGIC: Final = b"ONs1"
ENTRY_FIELDS: Final = 5
"""Columns of a frame's table, all little-endian 32-bit."""
_pack_entry: Final = _ENTRY.pack

_SEARCH_BYTES: Final = 4 * 1024

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Entry(NamedTuple):
    """One outcome as its frame lists it; `offset` is where its line begins in the segment."""

    line_number: int
    offset: int
    line_bytes: int
    kind: int
    prompt_tokens: int
    completion_tokens: int


_new_entry: Final[Callable[[tuple[int, ...]], Entry]] = partial(tuple.__new__, Entry)
"""`Entry._make` without its checks."""


class Frame(NamedTuple):
    """One frame of a segment; `table` is its part between header and lines."""

    header: bytes
    offset: int
    end: int
    table: bytes

    @property
    def entries(self) -> list[Entry]:
        if not self.table:
            return []
        fields = zip(*_ENTRY.iter_unpack(self.table), strict=True)
        numbers, sizes, kinds, prompts, completions = fields
        offsets = accumulate(sizes, initial=self.offset + _HEADER.size + len(self.table))
        # A million outcomes are read back in a second rather than in two.
        return list(map(_new_entry, zip(numbers, offsets, sizes, kinds, prompts, completions)))  # noqa: B905  one offset too many


def segment_path(folder: Path, ordinal: int, epoch: int) -> Path:
    return folder / f"{ordinal:08d}.{epoch:06d}"


def is_disk_full(error: OSError) -> bool:
    """Is there no room, which may come again? Anything else means that the disk is broken."""
    return error.errno in _FULL


class SegmentWriter:
    """Collects outcomes and appends them frame by frame. Raises `OSError` from `flush`."""

    __slots__ = (
        "_epoch", "_file", "_headers", "_index", "_lines", "pending_bytes", "size", "synced_size",
    )  # fmt: skip

    def __init__(self, file: AppendFile, epoch: int) -> None:
        self._file = file
        self._epoch = epoch
        self._headers = xxh3_64()
        self._index: list[bytes] = []
        self._lines: list[bytes] = []
        self.pending_bytes = 0
        self.size = 0
        self.synced_size = 0

    @property
    def digest(self) -> int:
        """Over all frame headers, which hold the checksums of everything else."""
        return signed64(self._headers.intdigest())

    @property
    def pending(self) -> bool:
        """Is there something that the next flush would write?"""
        return bool(self._index)

    def add(
        self, line_number: int, kind: int, line: bytes, prompt_tokens: int, completion_tokens: int
    ) -> None:
        """Take an outcome and its result line into the next frame."""
        size = len(line)
        self._index.append(_pack_entry(line_number, size, kind, prompt_tokens, completion_tokens))
        self._lines.append(line)
        self.pending_bytes += size

    def flush(self) -> None:
        """Write what was collected as one frame; it survives kill -9 from here on.

        When the disk refuses, nothing is written and nothing is forgotten: call again.
        """
        if not self._index:
            return
        payload = b"".join((*self._index, *self._lines))
        outcomes = len(self._index)
        checksum = _checksum(self._epoch, outcomes, payload)
        header = _HEADER.pack(_MAGIC, self._epoch, outcomes, len(payload), checksum)
        self._append(header, payload)
        self._index.clear()
        self._lines.clear()
        self.pending_bytes = 0

    def note(self, line_number: int, kind: int) -> None:
        """Write at once what is no outcome. When the disk refuses, it is as if never called."""
        self.add(line_number, kind, b"", 0, 0)
        try:
            self.flush()
        except OSError:
            self._index.pop()
            self._lines.pop()
            raise

    def carry(self, frame: Frame, payload: bytes) -> None:
        """Copy a predecessor's frame as it is."""
        self._append(frame.header, payload)

    def _append(self, header: bytes, payload: bytes) -> None:
        self._file.append((header, payload))
        self._headers.update(header)
        self.size += len(header) + len(payload)

    def sync(self) -> None:
        """Make what was flushed survive a power loss. Blocks; call it in a thread."""
        size = self.size
        if size != self.synced_size:
            self._file.datasync()
            self.synced_size = size

    def close(self) -> None:
        self._file.close()


def _checksum(epoch: int, outcomes: int, payload: bytes) -> int:
    """Of the payload and, by way of the seed, of the header's other fields."""
    return xxh3_64_intdigest(payload, epoch << 32 | outcomes)


def read_frames(file: ReadFile) -> Iterator[tuple[Frame, bytes]]:
    """Yield each good frame with its payload, until the first that is short or wrong.

    Raises `Corrupt` when the disk has lost some of it.
    """
    offset, file_bytes = 0, file.size()
    while found := _frame_at(file, offset, file_bytes):
        yield found
        offset = found[0].end


def _frame_at(file: ReadFile, offset: int, file_bytes: int) -> tuple[Frame, bytes] | None:
    header = file.read_at(offset, _HEADER.size)
    if len(header) != _HEADER.size:
        return None
    magic, epoch, outcomes, size, checksum = _HEADER.unpack(header)
    start = offset + _HEADER.size
    if magic != _MAGIC or start + size > file_bytes or outcomes * _ENTRY.size > size:
        return None
    payload = file.read_at(start, size)
    if len(payload) != size or _checksum(epoch, outcomes, payload) != checksum:
        return None
    return Frame(header, offset, start + size, payload[: outcomes * _ENTRY.size]), payload


def _frames_past_damage(file: ReadFile) -> Iterator[Frame]:
    """Every good frame there is, wherever it begins.

    None can be taken for one that is not: a header has zero bytes, and result lines have none.
    """
    offset, file_bytes = 0, file.size()
    while 0 <= offset < file_bytes:
        found = None
        with suppress(Corrupt):
            found = _frame_at(file, offset, file_bytes)
        if found is None:
            offset = _next_magic(file, offset + 1, file_bytes)
        else:
            yield found[0]
            offset = found[0].end


def _next_magic(file: ReadFile, offset: int, file_bytes: int) -> int:
    """Where the next frame may begin; -1 when none does."""
    for start in range(offset, file_bytes, _SEARCH_BYTES):
        # What lies across two blocks begins in the first.
        with suppress(Corrupt):
            block = file.read_at(start, _SEARCH_BYTES + len(_MAGIC) - 1)
            if (place := block.find(_MAGIC)) >= 0:
                return start + place
    return -1


class SegmentIndex:
    """What a segment says of each line: its first outcome, and how often it was sent alone
    without coming back; and the retries of all lines.
    """

    def __init__(self) -> None:
        self.outcomes: dict[int, Entry] = {}
        self.lone_sendings: dict[int, int] = {}
        self.retries = 0
        self.size = 0
        self.good_bytes = 0
        self._headers = xxh3_64()

    @property
    def digest(self) -> int:
        return signed64(self._headers.intdigest())

    @property
    def counts(self) -> Counts:
        """Of all first outcomes, and all retries."""
        succeeded = [e for e in self.outcomes.values() if e.kind == OutcomeKind.SUCCESS]
        return Counts(
            len(succeeded),
            len(self.outcomes) - len(succeeded),
            sum(entry.prompt_tokens for entry in succeeded),
            sum(entry.completion_tokens for entry in succeeded),
            self.retries,
        )

    def add(self, frame: Frame) -> None:
        self._headers.update(frame.header)
        self.size = frame.end
        self.good_bytes += frame.end - frame.offset
        for entry in frame.entries:
            if entry.kind <= OutcomeKind.FAILURE:
                self.outcomes.setdefault(entry.line_number, entry)
            elif entry.kind == OutcomeKind.RETRY:
                self.retries += 1
            elif entry.kind == OutcomeKind.ALONE:
                lone = self.lone_sendings.get(entry.line_number, 0)
                self.lone_sendings[entry.line_number] = lone + 1
            elif self.lone_sendings.get(entry.line_number, 0):
                self.lone_sendings[entry.line_number] -= 1


def index_segment(file: ReadFile) -> SegmentIndex:
    """Read a whole segment's index; what is torn at its end is left out. Raises `Corrupt`."""
    index = SegmentIndex()
    for frame, _ in read_frames(file):
        index.add(frame)
    return index


def index_damaged(file: ReadFile) -> SegmentIndex:
    """The index of all that is sound in a segment that is damaged somewhere."""
    index = SegmentIndex()
    for frame in _frames_past_damage(file):
        index.add(frame)
    return index


def open_latest(disk: Disk, folder: Path, ordinal: int, epoch: int) -> ReadFile | None:
    """The shard's newest segment of an epoch up to `epoch`; None when there is none."""
    for candidate in range(epoch, 0, -1):
        try:
            return disk.open(segment_path(folder, ordinal, candidate))
        except FileNotFoundError:
            continue
    return None


def begin_segment(
    disk: Disk, folder: Path, ordinal: int, epoch: int
) -> tuple[SegmentWriter, SegmentIndex]:
    """Start the segment of a new epoch with all that earlier epochs left. Blocks on syncs.

    Raises `Corrupt` when what they left can not be read, and `OSError`.
    """
    index = SegmentIndex()
    path = segment_path(folder, ordinal, epoch)
    draft = path.with_name(path.name + ".draft")
    disk.remove(draft)
    writer = SegmentWriter(disk.create(draft), epoch)
    try:
        old = open_latest(disk, folder, ordinal, epoch - 1)
        if old is not None:
            with closing(old):
                for frame, payload in read_frames(old):
                    writer.carry(frame, payload)
                    index.add(frame)
        writer.sync()
        disk.publish(draft, path)
    except (OSError, Corrupt):
        writer.close()
        raise
    return writer, index
