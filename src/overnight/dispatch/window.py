"""A shard's part of the input file, read at once, and where its requests lie in it."""

from typing import Final, NamedTuple

from xxhash import xxh3_64_intdigest

from overnight.domain.errors import Corrupt
from overnight.domain.plan import RECORD, Record, ShardPlan, signed64, unpack_records
from overnight.seams import ReadFile

_GAPS_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of other shards' lines worth reading along, rather than reading line by line."""


class LoadedWindow(NamedTuple):
    """Records' `line_offset` counts from the start of `data`."""

    data: bytes
    records: list[Record]


def read_records(plan_file: ReadFile, shard: ShardPlan) -> list[Record]:
    """The shard's records; raises `Corrupt` when they are not those that were planned."""
    data = plan_file.read_at(shard.first_record * RECORD.size, shard.requests * RECORD.size)
    if signed64(xxh3_64_intdigest(data)) != shard.checksum:
        raise Corrupt(f"the plan of shard {shard.ordinal} is damaged")
    return list(unpack_records(data))


def load_window(plan_file: ReadFile, input_file: ReadFile, shard: ShardPlan) -> LoadedWindow:
    """Read the lines of a shard. Blocks. Raises `Corrupt`, also when the input is cut short."""
    records = read_records(plan_file, shard)
    start = records[0].line_offset
    last = records[-1]
    span = last.line_offset + last.line_bytes - start
    wanted = sum(record.line_bytes for record in records)
    if span - wanted <= _GAPS_BYTES_MAX:
        data = input_file.read_at(start, span)
        moved = [record._replace(line_offset=record.line_offset - start) for record in records]
    else:
        lines = [input_file.read_at(record.line_offset, record.line_bytes) for record in records]
        data = b"".join(lines)
        span = wanted
        moved = []
        position = 0
        for record in records:
            moved.append(record._replace(line_offset=position))
            position += record.line_bytes
    if len(data) != span:
        raise Corrupt("the input file is shorter than it was when it was validated")
    return LoadedWindow(data, moved)
