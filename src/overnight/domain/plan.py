"""The plan: the order of a job's requests, and its cut into shards.

A plan file is a sequence of fixed-size records, one per request, in the order in which they
are to be sent. The records of one shard lie side by side, so that a shard is a range of
records. Offsets point into the input file: nothing of the user's is copied.
"""

import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from xxhash import xxh3_64_intdigest

RECORD: Final = struct.Struct("<QIIIIII")
"""Little-endian; 32 bytes. The fields are those of `Record`, in their order."""

_NUMBER_FIELD: Final = 5
"""Of a record as 32-bit fields, of which the first two are the line's offset."""

SHARD_REQUESTS_MAX: Final = 1_000
SHARD_BYTES_MAX: Final = 32 * 1024 * 1024
"""Bytes of bodies; a single longer request is a shard by itself."""

_SHARD_RECORDS_BYTES_MAX: Final = SHARD_REQUESTS_MAX * RECORD.size


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


RecordFields = tuple[int, int, int, int, int, int, int]
"""A record as it is unpacked: what `Record` is without its names, for the hot path."""


def unpack_records(data: bytes) -> Iterator[Record]:
    """Yield the records of a stretch of a plan file; `data` must hold whole records."""
    return map(Record._make, RECORD.iter_unpack(data))


def uint32_fields(table: bytes) -> "array[int]":
    """A table of little-endian 32-bit fields; of `n` columns, the slice `[k::n]` is one.

    Spares a loop over the rows. `table` must hold whole fields.
    """
    fields = array("I", table)
    if sys.byteorder == "big":
        fields.byteswap()
    return fields


def line_numbers(records: bytes) -> "array[int]":
    """The line numbers of packed records."""
    return uint32_fields(records)[_NUMBER_FIELD :: RECORD.size // 4]


def signed64(value: int) -> int:
    """An unsigned 64-bit hash as the signed integer that databases store."""
    return value - (1 << 64) if value >= 1 << 63 else value


def records_checksum(records: bytes) -> int:
    """xxh3-64 of a shard's packed records as a signed 64-bit integer: `ShardPlan.checksum`."""
    digest = xxh3_64_intdigest(records)
    return digest - (1 << 64) if digest >> 63 else digest


class CutShard(NamedTuple):
    """A shard and its packed records, which follow in the plan file on those cut before."""

    plan: ShardPlan
    records: bytes


@dataclass(slots=True)
class _GrowingShard:
    records: bytearray
    body_bytes: int


class ShardCutter:
    """Cuts packed records into shards of one model each, in input order within a model.

    One unfinished shard per model is held in memory, `SHARD_REQUESTS_MAX` records at most.
    """

    def __init__(self) -> None:
        # Ordered by the first request of each, since a shard that is cut leaves its place.
        self._growing: dict[str, _GrowingShard] = {}
        self._shards_cut = 0
        self._records_cut = 0

    @property
    def models(self) -> list[str]:
        return list(self._growing)

    def add(self, model: str, record: bytes, body_bytes: int) -> CutShard | None:
        """Add the next request; returns its model's shard so far if that one is now complete."""
        growing = self._growing.get(model)
        if (
            growing is not None
            and growing.body_bytes + body_bytes <= SHARD_BYTES_MAX
            and len(growing.records) < _SHARD_RECORDS_BYTES_MAX
        ):
            growing.records += record
            growing.body_bytes += body_bytes
            return None
        complete = None
        if growing is not None:
            del self._growing[model]
            complete = self._cut(model, growing)
        self._growing[model] = _GrowingShard(bytearray(record), body_bytes)
        return complete

    def add_all(
        self, model: str, records: Sequence[bytes], body_bytes: Sequence[int]
    ) -> Iterator[CutShard]:
        """Add requests of one model, as `add` would one by one; yields the shards they complete."""
        done = 0
        while done < len(records):
            growing = self._growing.get(model)
            if growing is not None:
                room = SHARD_REQUESTS_MAX - len(growing.records) // RECORD.size
                part = records[done : done + room]
                part_bytes = sum(body_bytes[done : done + room])
                if part and growing.body_bytes + part_bytes <= SHARD_BYTES_MAX:
                    growing.records += b"".join(part)
                    growing.body_bytes += part_bytes
                    done += len(part)
                    continue
            complete = self.add(model, records[done], body_bytes[done])
            if complete is not None:
                yield complete
            done += 1

    def finish(self) -> Iterator[CutShard]:
        """Cut what is left, in the order of the first request of each shard."""
        for model, growing in self._growing.items():
            yield self._cut(model, growing)

    def _cut(self, model: str, growing: _GrowingShard) -> CutShard:
        records = bytes(growing.records)
        plan = ShardPlan(
            ordinal=self._shards_cut,
            model=model,
            first_record=self._records_cut,
            requests=len(records) // RECORD.size,
            body_bytes=growing.body_bytes,
            checksum=records_checksum(records),
        )
        self._shards_cut += 1
        self._records_cut += plan.requests
        return CutShard(plan, records)
