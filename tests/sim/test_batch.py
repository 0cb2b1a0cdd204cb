"""Continuous batching, in given time: nothing here waits."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overnight.sim.batch import PROMPT_TOKENS_A_STEP, Batch, Pace, Sequence
from overnight.sim.kv_cache import BLOCK_TOKENS, KvCache

STEP = 1 / 64
"""Seconds; a power of two, so that sums of it are exact."""


def run_out(batch: Batch) -> list[Sequence]:
    done = []
    while (at := batch.next_event) is not None:
        done += batch.advance(at)
    return done


def test_one_alone_takes_its_reading_and_its_writing() -> None:
    batch = Batch(Pace(step=STEP, per_prompt_token=STEP / 4))
    one = Sequence(prompt_tokens=8, tokens=10, overhead_seconds=1.0)
    batch.add(one, 5.0)
    assert run_out(batch) == [one]
    assert one.first_token == 5.0 + 1.0 + 2 * STEP + STEP
    assert one.finished == 5.0 + 1.0 + 2 * STEP + 10 * STEP


@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_together_they_are_slower_each_and_faster_in_all(size: int) -> None:
    batch = Batch(Pace(step=STEP, per_sequence=STEP / 8))
    for _ in range(size):
        batch.add(Sequence(prompt_tokens=1, tokens=100), 0.0)
    done = run_out(batch)
    assert {one.finished for one in done} == {100 * (STEP + size * STEP / 8)}
    assert 100 * size / done[0].finished < 8 / STEP, "what all of them approach"


def test_those_who_come_later_join_at_the_next_step() -> None:
    batch = Batch(Pace(step=STEP))
    first, second = Sequence(1, 10), Sequence(1, 3)
    batch.add(first, 0.0)
    now = 2.5 * STEP
    assert batch.advance(now) == []
    batch.add(second, now)
    assert run_out(batch) == [second, first]
    assert (second.admitted, second.finished, first.finished) == (3 * STEP, 6 * STEP, 10 * STEP)


def test_slots_are_taken_in_order_of_arrival() -> None:
    batch = Batch(Pace(step=STEP), slots=2)
    all_of_them = [Sequence(1, tokens) for tokens in (8, 2, 4, 1)]
    for one in all_of_them:
        batch.add(one, 0.0)
    batch.advance(0.0)
    assert (len(batch.running), len(batch.waiting)) == (2, 2)
    run_out(batch)
    admitted = [one.admitted for one in all_of_them]
    assert admitted == [0, 0, 2 * STEP, 6 * STEP]
    assert [one.finished for one in all_of_them] == [8 * STEP, 2 * STEP, 6 * STEP, 7 * STEP]


def test_a_slot_is_held_while_its_overhead_passes() -> None:
    batch = Batch(Pace(), slots=1)
    one, two = Sequence(1, 5, overhead_seconds=1.0), Sequence(1, 5, overhead_seconds=1.0)
    batch.add(one, 0.0)
    batch.add(two, 0.5)
    run_out(batch)
    assert (one.finished, two.admitted, two.finished) == (1.0, 1.0, 2.0)


def test_one_is_admitted_while_another_only_waits_for_its_overhead() -> None:
    batch = Batch(Pace(step=STEP))
    slow, quick = Sequence(1, 1, overhead_seconds=10.0), Sequence(1, 1)
    batch.add(slow, 0.0)
    batch.add(quick, 2.0)
    assert run_out(batch) == [quick, slow]
    assert (quick.finished, slow.finished) == (2.0 + STEP, 10.0 + STEP)


def test_reading_a_long_prompt_slows_those_who_write() -> None:
    batch = Batch(Pace(step=STEP, per_prompt_token=STEP / 1024))
    writer, reader = Sequence(1024, 100), Sequence(2 * PROMPT_TOKENS_A_STEP, 1)
    batch.add(writer, 0.0)
    batch.add(reader, 0.0)
    run_out(batch)
    reading = (1024 + 2 * PROMPT_TOKENS_A_STEP) / 1024 * STEP
    assert writer.finished == reading + 100 * STEP


def test_a_prompt_without_reply_is_done_when_it_is_read() -> None:
    batch = Batch(Pace(step=STEP, per_prompt_token=STEP))
    embedding = Sequence(4, 0)
    batch.add(embedding, 0.0)
    assert run_out(batch) == [embedding]
    assert embedding.finished == 4 * STEP


def test_what_is_in_the_cache_is_not_read_again() -> None:
    cache = KvCache(64 * BLOCK_TOKENS)
    batch = Batch(Pace(per_prompt_token=STEP), cache=cache)
    first, second = (Sequence(40, 1, block_names=(1, 2)) for _ in range(2))
    batch.add(first, 0.0)
    run_out(batch)
    batch.add(second, 100.0)
    run_out(batch)
    assert (first.finished, second.finished) == (40 * STEP, 100 + 8 * STEP)
    assert (batch.counts.prefix_queries, batch.counts.prefix_hits) == (80, 32)


def test_the_last_one_admitted_goes_back_when_memory_is_full() -> None:
    cache = KvCache(4 * BLOCK_TOKENS)
    batch = Batch(Pace(step=STEP), cache=cache)
    first, second = Sequence(BLOCK_TOKENS, 20), Sequence(BLOCK_TOKENS, 20)
    batch.add(first, 0.0)
    batch.add(second, 0.0)
    batch.advance(10 * STEP)
    assert batch.cache_usage(10 * STEP) == 1, "each has one block full and one begun"
    assert batch.counts.preemptions == 0
    assert run_out(batch) == [first, second]
    assert batch.counts.preemptions == second.preemptions == 1
    assert first.finished == 20 * STEP, "it never stopped"
    assert second.finished == 24 * STEP, "it kept the 16 tokens it had written"
    assert cache.usage == 0


def test_one_nobody_waits_for_any_more_makes_place() -> None:
    batch = Batch(Pace(step=STEP), slots=1)
    gone, waiting, also_gone = Sequence(1, 100), Sequence(1, 1), Sequence(1, 1)
    for one in (gone, waiting, also_gone):
        batch.add(one, 0.0)
    batch.advance(2.5 * STEP)
    batch.remove(also_gone, 2.5 * STEP)
    batch.remove(gone, 2.5 * STEP)
    assert run_out(batch) == [waiting]
    assert waiting.admitted == 3 * STEP


paces = st.builds(
    Pace, st.sampled_from([0, 0.01]), st.sampled_from([0, 0.001]), st.sampled_from([0, 0.0001])
)


@settings(max_examples=60, deadline=None)
@given(
    paces,
    st.sampled_from([None, 1, 3, 16]),
    st.sampled_from([None, 20, 60]),
    st.integers(0, 2**32),
)
def test_all_that_stay_are_done_once_and_memory_comes_back(
    pace: Pace, slots: int | None, blocks: int | None, seed: int
) -> None:
    chance = random.Random(seed)
    cache = None if blocks is None else KvCache(blocks * BLOCK_TOKENS)
    batch = Batch(pace, slots, cache)
    there: set[Sequence] = set()
    done: list[Sequence] = []
    removed = 0
    now = 0.0
    for _ in range(120):
        now += chance.choice([0, 0, 0.001, 0.05, chance.random() * 0.3])
        ended = batch.advance(now)
        there.difference_update(ended)
        done += ended
        if there and chance.random() < 0.1:
            batch.remove(one := chance.choice([*there]), now)
            there.discard(one)
            removed += 1
        prompt_tokens = chance.randint(1, 120)
        prefix = tuple(range(chance.randint(0, (prompt_tokens - 1) // BLOCK_TOKENS)))
        names = prefix if cache is not None else ()
        one = Sequence(prompt_tokens, chance.choice([0, 1, 150]), chance.choice([0, 0.02]), names)
        batch.add(one, now)
        there.add(one)
        assert slots is None or len(batch.running) <= slots
        assert cache is None or 0 <= cache.available <= cache.blocks
    done += run_out(batch)
    assert len(done) == len({*done}) == 120 - removed
    assert all(one.written == one.tokens for one in done)
    assert all(one.arrived <= one.admitted <= one.finished for one in done)
    assert (len(batch.running), len(batch.waiting)) == (0, 0)
    assert cache is None or cache.available == cache.blocks
