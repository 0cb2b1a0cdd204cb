"""How a job's requests are cut into shards."""

from collections import defaultdict
from itertools import groupby
from operator import itemgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from overnight.domain.plan import (
    RECORD,
    SHARD_BYTES_MAX,
    SHARD_REQUESTS_MAX,
    CutShard,
    Record,
    ShardCutter,
    records_checksum,
    unpack_records,
)

HALF = SHARD_BYTES_MAX // 2
RUNS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from([1, 300, HALF - 1, HALF, SHARD_BYTES_MAX, SHARD_BYTES_MAX + 1]),
        st.sampled_from([1, 2, 3, 999, 1_000, 1_001]),
    ),
    max_size=8,
)


def cut(requests: list[tuple[str, int]]) -> list[CutShard]:
    """Cut requests given as (model, bytes of the body)."""
    cutter = ShardCutter()
    shards: list[CutShard] = []
    for number, (model, body_bytes) in enumerate(requests, 1):
        record = RECORD.pack(0, body_bytes, 0, body_bytes, number, 0, 0)
        shard = cutter.add(model, record, body_bytes)
        if shard is not None:
            shards.append(shard)
    return shards + list(cutter.finish())


@given(RUNS)
def test_shards_partition_the_requests(runs: list[tuple[str, int, int]]) -> None:
    requests = [(model, size) for model, size, times in runs for _ in range(times)]
    shards = cut(requests)

    expected: dict[str, list[int]] = defaultdict(list)
    for number, (model, _) in enumerate(requests, 1):
        expected[model].append(number)
    planned: dict[str, list[int]] = defaultdict(list)
    position = 0
    for ordinal, (plan, packed) in enumerate(shards):
        records = list(unpack_records(packed))
        planned[plan.model].extend(record.line_number for record in records)
        assert (plan.ordinal, plan.first_record) == (ordinal, position)
        assert plan.requests == len(records) <= SHARD_REQUESTS_MAX
        assert plan.body_bytes == sum(record.body_bytes for record in records)
        assert plan.body_bytes <= SHARD_BYTES_MAX or plan.requests == 1
        assert plan.checksum == records_checksum(packed)
        position += plan.requests
    assert planned == expected


@given(RUNS, st.integers(1, 700))
def test_added_together_they_are_cut_as_one_by_one(
    runs: list[tuple[str, int, int]], together_max: int
) -> None:
    requests = [(model, size) for model, size, times in runs for _ in range(times)]
    cutter, number = ShardCutter(), 0
    shards: list[CutShard] = []
    for model, run in groupby(requests, itemgetter(0)):
        sizes = [size for _, size in run]
        for start in range(0, len(sizes), together_max):
            part = sizes[start : start + together_max]
            records = [RECORD.pack(0, n, 0, n, number + k, 0, 0) for k, n in enumerate(part, 1)]
            shards += cutter.add_all(model, records, part)
            number += len(part)
    assert [*shards, *cutter.finish()] == cut(requests)


@given(RUNS)
def test_no_two_neighbours_of_a_model_would_fit_into_one_shard(
    runs: list[tuple[str, int, int]],
) -> None:
    last: dict[str, CutShard] = {}
    for shard in cut([(model, size) for model, size, times in runs for _ in range(times)]):
        before = last.get(shard.plan.model)
        if before is not None:
            following = next(unpack_records(shard.records)).body_bytes
            full = before.plan.requests == SHARD_REQUESTS_MAX
            assert full or before.plan.body_bytes + following > SHARD_BYTES_MAX
        last[shard.plan.model] = shard


def test_what_is_left_is_cut_in_the_order_of_first_requests() -> None:
    requests = [("a", 1), *[("b", 1)] * SHARD_REQUESTS_MAX, ("c", 1), ("b", 1)]
    assert [shard.plan.model for shard in cut(requests)] == ["b", "a", "c", "b"]


def test_a_request_longer_than_a_shard_is_a_shard_by_itself() -> None:
    shards = cut([("a", 1), ("a", SHARD_BYTES_MAX + 1), ("a", 1)])
    assert [shard.plan.requests for shard in shards] == [1, 1, 1]


@pytest.mark.parametrize("records", [b"", b"0", b"1", b"2", b"3", b"4", b"5"])
def test_a_checksum_is_the_digest_as_sql_can_store_it(records: bytes) -> None:
    checksum = records_checksum(records)
    assert -(2**63) <= checksum < 2**63
    assert checksum % 2**64 == xxh3_64_intdigest(records)


def test_records_are_read_back_as_they_were_packed() -> None:
    records = [Record(2**63, 2**32 - 1, 1, 2, 3, 4, 5), Record(0, 0, 0, 0, 1, 0, 0)]
    assert list(unpack_records(b"".join(RECORD.pack(*record) for record in records))) == records
