"""From plan and segments to result files: walk the plan in input order, write each outcome.

The plan is walked, not the segments: so every request gets exactly one line, and one that has
no outcome gets a line that says why. Within a model the plan keeps the input's order, so
shards are read one after the other; several models are merged by line number.

A shard whose requests all have their outcome, which is nearly every one, is read at once; any
other line by line.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from overnight.dispatch.segment import (
    Entry,
    SegmentIndex,
    index_damaged,
    index_segment,
    open_latest,
    segment_path,
)
from overnight.dispatch.whole_segment import Place, WholeSegment, find_whole, read_whole
from overnight.dispatch.window import read_line_numbers, read_records
from overnight.domain.block_digests import BlockDigests
from overnight.domain.errors import Corrupt
from overnight.domain.job import Counts
from overnight.domain.plan import Record, ShardPlan
from overnight.domain.request import OutcomeKind
from overnight.domain.result_line import Unsent, line_prefix, unsent_line
from overnight.seams import AppendFile, Disk, ReadFile
from overnight.service.result_batches import LineBatch, Sink, merged

HELD_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of segments in memory, over all models; of larger ones the lines are read when they are due."""
_READ_ONCE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Reading a larger one frame by frame costs hardly more, and holds its lines only once."""
_STEP_LINES: Final = 1_000
_STEP_BYTES: Final = 4 * 1024 * 1024
"""Whichever comes first ends a step."""


@dataclass(frozen=True, slots=True)
class ShardResult:
    """Where a shard's outcomes are. `size` and `digest` are known once it is settled."""

    plan: ShardPlan
    epoch: int
    settled: bool
    size: int = 0
    digest: int = 0


@dataclass(frozen=True, slots=True)
class AssemblyInput:
    job_hex: str
    plan_file: ReadFile
    input_file: ReadFile
    segments: Path
    shards: Sequence[ShardResult]
    unsent: tuple[str, str] | None
    """Code and message for requests without an outcome; None: every one must have its outcome."""


@dataclass(slots=True)
class Assembled:
    """What the walk found. `lost` counts lines that should have had an outcome and had none."""

    counts: Counts = field(default_factory=Counts)
    output_bytes: int = 0
    error_bytes: int = 0
    output_digests: BlockDigests = b""
    error_digests: BlockDigests = b""
    lost: int = 0
    damage: list[str] = field(default_factory=list)


_Line = tuple[Entry, bytes]
"""An outcome and its result line."""

T = TypeVar("T")


class Assembly:
    """Writes successes to `output` and everything else to `errors`; syncs neither."""

    def __init__(
        self,
        source: AssemblyInput,
        disk: Disk,
        output: AppendFile,
        errors: AppendFile,
        held_bytes_max: int = HELD_BYTES_MAX,
    ) -> None:
        self.result = Assembled()
        self._source = source
        self._disk = disk
        self._prefix = line_prefix(source.job_hex)
        self._output = Sink(output.append)
        self._errors = Sink(errors.append)
        self._held_bytes_max = held_bytes_max
        self._prompt_tokens = self._completion_tokens = self._retries = 0

    def steps(self) -> Iterator[int]:
        """Work in short steps; yields how many lines are written. `result` is final at the end."""
        succeeded = failed = 0
        for batch in self._batches():
            successes, failures = batch.divided()
            self._output.write(successes)
            self._errors.write(failures)
            succeeded += len(successes)
            failed += len(failures)
            yield succeeded + failed
        self.result.output_bytes = self._output.close()
        self.result.error_bytes = self._errors.close()
        self.result.output_digests = self._output.digests()
        self.result.error_digests = self._errors.digests()
        self.result.counts = Counts(
            succeeded, failed, self._prompt_tokens, self._completion_tokens, self._retries
        )
        yield succeeded + failed

    @property
    def written_bytes(self) -> int:
        """Bytes in both files so far."""
        return self._output.written_bytes + self._errors.written_bytes

    def _batches(self) -> Iterator[LineBatch]:
        by_model = sorted(self._source.shards, key=lambda s: (s.plan.model, s.plan.ordinal))
        models = [list(shards) for _, shards in groupby(by_model, attrgetter("plan.model"))]
        if models:
            # One of each is held at a time.
            self._held_bytes_max //= len(models)
        return merged([self._batches_of(shards) for shards in models])

    def _batches_of(self, shards: Sequence[ShardResult]) -> Iterator[LineBatch]:
        for shard in shards:
            file = self._open(shard)
            with nullcontext() if file is None else closing(file):
                whole = None if file is None else self._whole_shard(shard, file)
                yield from whole or self._in_batches(self._shard_lines(shard, file))

    def _whole_shard(self, shard: ShardResult, file: ReadFile) -> Iterator[LineBatch] | None:
        """All lines of a shard; None when one is missing, or anything else is odd."""
        try:
            numbers = read_line_numbers(self._source.plan_file, shard.plan)
            if file.size() > self._held_bytes_max:
                found = self._in_order(shard, numbers, find_whole(file))
                return found and self._lines_at(file, *found)
            whole = self._in_order(
                shard, numbers, read_whole(_read_once(file, _READ_ONCE_BYTES_MAX))
            )
            return whole and LineBatch(*whole).in_parts(_STEP_BYTES)
        except Corrupt:
            return None

    def _in_order(
        self, shard: ShardResult, numbers: Sequence[int], whole: WholeSegment[T] | None
    ) -> tuple[Sequence[int], list[T], set[int]] | None:
        """What `whole` has of each number, if that is all; then its tokens count."""
        if whole is None or _is_damaged(shard, whole):
            return None
        found = [one for one in map(whole.lines.get, numbers) if one is not None]
        if not len(found) == len(numbers) == len(whole.lines):
            return None
        self._prompt_tokens += whole.prompt_tokens
        self._completion_tokens += whole.completion_tokens
        self._retries += whole.retries
        return numbers, found, whole.failed

    def _lines_at(
        self, file: ReadFile, numbers: Sequence[int], places: list[Place], failed: set[int]
    ) -> Iterator[LineBatch]:
        # Of many models each has as much waiting: twelve bytes a line rather than two hundred.
        offsets = array("Q", [place.offset for place in places])
        sizes = array("I", [place.line_bytes for place in places])
        places.clear()
        bytes_max = min(_STEP_BYTES, self._held_bytes_max)
        start = 0
        while start < len(numbers):
            stop, batch_bytes = start, 0
            while stop < len(numbers) and batch_bytes < bytes_max:
                batch_bytes += sizes[stop]
                stop += 1
            part = slice(start, stop)
            lines = list(map(file.read_at, offsets[part], sizes[part]))
            yield LineBatch(numbers[part], lines, failed)
            start = stop

    def _in_batches(self, lines: Iterator[_Line]) -> Iterator[LineBatch]:
        bytes_max = min(_STEP_BYTES, self._held_bytes_max)
        numbers: list[int] = []
        batch, batch_bytes = LineBatch(numbers, [], set()), 0
        for entry, line in lines:
            numbers.append(entry.line_number)
            batch.lines.append(line)
            batch_bytes += len(line)
            if entry.kind == OutcomeKind.SUCCESS:
                self._prompt_tokens += entry.prompt_tokens
                self._completion_tokens += entry.completion_tokens
            else:
                batch.failed.add(entry.line_number)
            if len(numbers) == _STEP_LINES or batch_bytes > bytes_max:
                yield batch
                numbers = []
                batch, batch_bytes = LineBatch(numbers, [], set()), 0
        if numbers:
            yield batch

    def _shard_lines(self, shard: ShardResult, file: ReadFile | None) -> Iterator[_Line]:
        segment = None if file is None else _read_once(file, self._held_bytes_max)
        index, damaged = self._index(segment, shard)
        self._retries += index.retries
        try:
            records = read_records(self._source.plan_file, shard.plan)
        except Corrupt as error:
            yield from self._without_plan(shard, segment, index, str(error))
            return
        read = _reader(segment)
        for record in records:
            entry = index.outcomes.get(record.line_number)
            if entry is None:
                yield self._missing(record, damaged)
            else:
                yield entry, read(entry)

    def _open(self, shard: ShardResult) -> ReadFile | None:
        folder, ordinal = self._source.segments, shard.plan.ordinal
        if not shard.settled:
            return open_latest(self._disk, folder, ordinal, shard.epoch)
        try:
            return self._disk.open(segment_path(folder, ordinal, shard.epoch))
        except FileNotFoundError:
            return None

    def _index(self, segment: ReadFile | None, shard: ShardResult) -> tuple[SegmentIndex, bool]:
        """What a segment holds, and whether it has lost something."""
        index, damaged = SegmentIndex(), False
        try:
            if segment is not None:
                index = index_segment(segment)
        except Corrupt:
            damaged = True
        damaged |= _is_damaged(shard, index)
        if damaged:
            if segment is not None:
                index = index_damaged(segment)
            total = f" of {shard.size:,}" if shard.settled else ""
            good = f"{index.good_bytes:,} good bytes{total}"
            self.result.damage.append(f"the segment of shard {shard.plan.ordinal} has {good}")
        return index, damaged

    def _missing(self, record: Record, damaged: bool) -> _Line:
        reason = self._source.unsent
        if reason is None or damaged:
            reason = Unsent.LOST
            self.result.lost += 1
        token = self._custom_id(record)
        if token is None:
            code, message = reason
            reason = (code, f"{message} {Unsent.NAMELESS} {record.line_number}.")
        data = unsent_line(self._prefix, record.line_number, token or b'""', reason)
        return Entry(record.line_number, 0, len(data), OutcomeKind.FAILURE, 0, 0), data

    def _custom_id(self, record: Record) -> bytes | None:
        """As it stands in the input; None when that is damaged."""
        start, why = record.line_offset + record.id_offset, "the input file is damaged"
        try:
            token = self._source.input_file.read_at(start, record.id_bytes)
            if len(token) == record.id_bytes:
                msgspec.json.decode(token, type=str)
                return token
        except Corrupt as error:
            why = str(error)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        if why not in self.result.damage[-1:]:
            self.result.damage.append(why)
        return None

    def _without_plan(
        self, shard: ShardResult, segment: ReadFile | None, index: SegmentIndex, why: str
    ) -> Iterator[_Line]:
        """The plan is damaged: publish what the segment holds, count the rest as lost."""
        self.result.damage.append(why)
        self.result.lost += shard.plan.requests - len(index.outcomes)
        read = _reader(segment)
        for number in sorted(index.outcomes):
            entry = index.outcomes[number]
            yield entry, read(entry)


def _is_damaged(shard: ShardResult, found: SegmentIndex | WholeSegment[T]) -> bool:
    """Has it lost something that was there when the shard was settled?"""
    return shard.settled and (found.size, found.digest) != (shard.size, shard.digest)


class _InMemory:
    """A segment that was read once: what is checked is what is copied."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def size(self) -> int:
        return len(self.data)

    def read_at(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]

    def close(self) -> None:
        pass


def _read_once(segment: ReadFile, bytes_max: int) -> ReadFile:
    """All of it in memory, unless it is large, or not all of it can be read."""
    size = segment.size()
    if size > bytes_max:
        return segment
    try:
        return _InMemory(segment.read_at(0, size))
    except Corrupt:
        return segment


def _reader(segment: ReadFile | None) -> Callable[[Entry], bytes]:
    """How to get an entry's line."""
    if segment is None:
        return lambda _: b""
    if isinstance(segment, _InMemory):
        whole = segment.data
        return lambda entry: whole[entry.offset : entry.offset + entry.line_bytes]
    return lambda entry: segment.read_at(entry.offset, entry.line_bytes)
