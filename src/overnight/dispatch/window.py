"""A shard's part of the input file, read at once, and where its requests lie in it."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from xxhash import xxh3_64_intdigest

from overnight.domain.errors import Corrupt
from overnight.domain.plan import (
    RECORD,
    Record,
    RecordFields,
    ShardPlan,
    line_numbers,
    signed64,
    unpack_records,
)
from overnight.seams import ReadFile

_GAPS_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of other shards' lines worth reading along, rather than reading line by line."""


class LoadedWindow(NamedTuple):
    """`data` holds the lines of `records`; `start` is the line offset of its first byte."""

    data: bytes
    start: int
    records: Sequence[RecordFields]


def read_records(plan_file: ReadFile, shard: ShardPlan) -> list[Record]:
    """The shard's records; raises `Corrupt` when they are not those that were planned."""
    return list(unpack_records(_planned(plan_file, shard)))


def read_line_numbers(plan_file: ReadFile, shard: ShardPlan) -> Sequence[int]:
    """The shard's line numbers; raises `Corrupt` as `read_records` does."""
    return line_numbers(_planned(plan_file, shard))


def is_planned(plan_file: ReadFile, shard: ShardPlan) -> bool:
    """Are the shard's records those that were planned, and can be read?"""
    try:
        _planned(plan_file, shard)
    except Corrupt:
        return False
    return True


def load_window(plan_file: ReadFile, input_file: ReadFile, shard: ShardPlan) -> LoadedWindow:
    """Read the lines of a shard. Blocks. Raises `Corrupt`, also when the input is cut short."""
    records = list(RECORD.iter_unpack(_planned(plan_file, shard)))
    start, (last, last_bytes) = records[0][0], records[-1][:2]
    span = last + last_bytes - start
    wanted = sum([record[1] for record in records])
    if span - wanted <= _GAPS_BYTES_MAX:
        window = LoadedWindow(input_file.read_at(start, span), start, records)
    else:
        window, span = _gathered(input_file, records), wanted
    if len(window.data) != span:
        raise Corrupt("the input file is shorter than it was when it was validated")
    return window


def _planned(plan_file: ReadFile, shard: ShardPlan) -> bytes:
    data = plan_file.read_at(shard.first_record * RECORD.size, shard.requests * RECORD.size)
    if signed64(xxh3_64_intdigest(data)) != shard.checksum:
        raise Corrupt(f"the plan of shard {shard.ordinal} is damaged")
    return data


def _gathered(input_file: ReadFile, records: Sequence[RecordFields]) -> LoadedWindow:
    """Lines that lie far apart, side by side."""
    lines, moved, position = [], [], 0
    for line_offset, line_bytes, *rest in records:
        lines.append(input_file.read_at(line_offset, line_bytes))
        moved.append(Record(position, line_bytes, *rest))
        position += line_bytes
    return LoadedWindow(b"".join(lines), 0, moved)
