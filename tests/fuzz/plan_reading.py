"""Plans that were damaged in any way, and inputs cut short: a shard is read as it was planned, or
reported as corrupt."""

from pathlib import Path
from typing import Final

from fuzz.segment_scanning import damaged
from fuzz.target import Target
from overnight.dispatch.window import load_window, read_records
from overnight.domain.errors import Corrupt
from overnight.domain.plan import RECORD, Record, ShardCutter, ShardPlan, unpack_records
from support.memory_disk import MemoryDisk

INPUT: Final = Path("input")
PLAN: Final = Path("plan")
MODELS: Final = ("m", "n", "o")


def check(data: bytes) -> None:
    """A byte tells how much of the rest is what to plan, one where the input is cut off; what
    follows is how to damage the plan."""
    if len(data) < 2:
        return
    size, lost, rest = data[0], data[1], data[2:]
    source, packed, shards = _planned(rest[:size])
    found = damaged(packed, rest[size:])
    kept = source[: len(source) - lost]
    for shard in shards:
        _check_shard(shard, source, kept, (packed, found))


def _planned(orders: bytes) -> tuple[bytes, bytes, list[ShardPlan]]:
    """Two bytes a request: its model, and how long its line is."""
    cutter, source, cut = ShardCutter(), b"", []
    lengths = [length or 1 for length in orders[1::2]]
    for number, (model, length) in enumerate(zip(orders[::2], lengths, strict=False), 1):
        line = bytes([64 + length % 60]) * length
        record = RECORD.pack(len(source), length, length // 3, length // 2, number, 0, length // 4)
        done = cutter.add(MODELS[model % len(MODELS)], record, length // 2)
        assert done is None
        source += line + b"\n"
    cut = list(cutter.finish())
    return source, b"".join(each.records for each in cut), [each.plan for each in cut]


def _check_shard(shard: ShardPlan, source: bytes, kept: bytes, plans: tuple[bytes, bytes]) -> None:
    packed, found = plans
    place = slice(shard.first_record * RECORD.size, (shard.first_record + shard.requests) * 32)
    sound = packed[place] == found[place]
    disk = MemoryDisk()
    disk.files[INPUT], disk.files[PLAN] = bytearray(kept), bytearray(found)
    plan_file = disk.open(PLAN)
    try:
        records = read_records(plan_file, shard)
    except Corrupt:
        assert not sound, "a plan that is as it was is called damaged"
        return
    assert sound, "a plan that was changed is not called damaged"
    assert records == list(unpack_records(packed[place]))
    is_there = all(record.line_offset + record.line_bytes <= len(kept) for record in records)
    try:
        window = load_window(plan_file, disk.open(INPUT), shard)
    except Corrupt:
        assert not is_there, "an input that is all there is called short"
        return
    assert is_there, "an input that was cut short is not called so"
    for fields in window.records:
        record = Record(*fields)
        line = source[record.line_offset : record.line_offset + record.line_bytes]
        start = record.line_offset - window.start
        assert window.data[start : start + record.line_bytes] == line


TARGET: Final = Target(
    "plan_reading",
    check,
    bytes_max=200,
)
