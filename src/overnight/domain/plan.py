"""The plan: the order of a job's requests, and its cut into shards.

A plan file is a sequence of fixed-size records, one per request, in the order in which they
are to be sent. The records of one shard lie side by side, so that a shard is a range of
records. Offsets point into the input file: nothing of the user's is copied.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

RECORD: Final = struct.Struct("<QIIIIII")
"""Little-endian; 32 bytes. The fields are those of `Record`, in their order."""

SHARD_REQUESTS_MAX: Final = 1_000
SHARD_BYTES_MAX: Final = 32 * 1024 * 1024


class Record(NamedTuple):
    """Where one request lies in the input file. Lengths and offsets are bytes.

    `body_offset` and `id_offset` count from the start of the line. The id is the JSON string
    as the user wrote it, quotes and escapes included, ready to be copied into a result line.
    """

    line_offset: int
    line_bytes: int
    body_offset: int
    body_bytes: int
    line_number: int
    id_offset: int
    id_bytes: int


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """One shard as the validator cut it: `requests` records of one model from `first_record`."""

    ordinal: int
    model: str
    first_record: int
    requests: int
    body_bytes: int
    checksum: int
    """xxh3-64 of the shard's records, as a signed 64-bit integer (what SQL can store)."""


def unpack_records(data: bytes) -> Iterator[Record]:
    """Yield the records of a stretch of a plan file; `data` must hold whole records."""
    return map(Record._make, RECORD.iter_unpack(data))


def signed64(value: int) -> int:
    """An unsigned 64-bit hash as the signed integer that databases store."""
    return value - (1 << 64) if value >= 1 << 63 else value
