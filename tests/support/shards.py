"""Shards for tests of dispatching: built from nothing but how many requests they should have."""

from dataclasses import dataclass
from pathlib import Path

from overnight.dispatch.segment import begin_segment, index_segment, open_latest
from overnight.dispatch.shard import OpenShard, ShardOrder
from overnight.domain.plan import Record
from overnight.seams import Disk

FOLDER = Path("segments")
ENDPOINT = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Lines:
    """`shard.Window`: requests whose body is `{"model":…,"n":…}`, n being the line number."""

    data: bytes
    records: list[Record]
    start: int = 0

    @classmethod
    def make(cls, model: str, first: int, count: int) -> "Lines":
        data = b""
        records = []
        for number in range(first, first + count):
            token, body = b'"c%d"' % number, b'{"model":"%b","n":%d}' % (model.encode(), number)
            size = len(token) + len(body)
            records.append(Record(len(data), size, len(token), len(body), number, 0, len(token)))
            data += token + body
        return cls(data, records)


def open_shard(
    disk: Disk,
    count: int,
    *,
    job: str = "batch_0a",
    ordinal: int = 0,
    epoch: int = 1,
    model: str = "m",
    one_by_one: bool = False,
) -> OpenShard:
    """Lines are numbered from 1 in shard 0, from 1001 in shard 1, and so on; jobs have folders."""
    order = ShardOrder(job, ordinal, epoch, model, ENDPOINT, one_by_one)
    writer, index = begin_segment(disk, FOLDER / job, ordinal, epoch)
    return OpenShard(order, Lines.make(model, ordinal * 1_000 + 1, count), writer, index)


def result_lines(disk: Disk, *, job: str = "batch_0a", ordinal: int = 0) -> dict[int, bytes]:
    """Line number to the result line in the newest segment of a shard."""
    file = open_latest(disk, FOLDER / job, ordinal, 999)
    assert file is not None
    try:
        return {
            number: file.read_at(entry.offset, entry.line_bytes)
            for number, entry in index_segment(file).outcomes.items()
        }
    finally:
        file.close()


def written(disk: Disk, *, job: str = "batch_0a", ordinal: int = 0) -> dict[int, int]:
    """Line number to kind, as the newest segment of a shard has it."""
    file = open_latest(disk, FOLDER / job, ordinal, 999)
    assert file is not None
    try:
        return {line: entry.kind for line, entry in index_segment(file).outcomes.items()}
    finally:
        file.close()
