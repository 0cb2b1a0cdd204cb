"""The batch with a loop's timers, in virtual time."""

import asyncio

from overnight.sim.batch import Batch, Pace, Sequence
from overnight.sim.timed_batch import TimedBatch
from support.virtual_time import run_virtual

TOLERANCE_SECONDS = 0.002
"""Timers are no finer than a millisecond."""


def test_each_is_told_when_it_is_done() -> None:
    async def main() -> list[tuple[str, float]]:
        loop = asyncio.get_running_loop()
        timed = TimedBatch(Batch(Pace(step=0.01), slots=2))
        told: list[tuple[str, float]] = []
        for name, tokens in (("long", 500), ("short", 100), ("third", 100)):
            # The second one joins at the step after the first one's first.
            timed.add(Sequence(1, tokens), lambda name=name: told.append((name, loop.time())))
        await asyncio.sleep(60)
        return told

    told = run_virtual(main())
    assert [name for name, _ in told] == ["short", "third", "long"]
    for (_, at), expected in zip(told, (1.01, 2.01, 5.0), strict=True):
        assert expected - 1e-9 <= at <= expected + TOLERANCE_SECONDS


def test_nobody_is_told_before_add_returns() -> None:
    async def main() -> None:
        timed = TimedBatch(Batch(Pace()))
        told: list[int] = []
        timed.add(Sequence(1, 1), lambda: told.append(1))
        assert told == []
        await asyncio.sleep(0.01)
        assert told == [1]

    run_virtual(main())


def test_one_that_is_removed_is_not_told_and_the_next_one_moves_up() -> None:
    async def main() -> None:
        timed = TimedBatch(Batch(Pace(step=0.01), slots=1))
        told: list[str] = []
        gone = Sequence(1, 1000)
        timed.add(gone, lambda: told.append("gone"))
        timed.add(Sequence(1, 100), lambda: told.append("next"))
        await asyncio.sleep(0.5)
        timed.remove(gone)
        timed.remove(gone)
        await asyncio.sleep(1.1)
        assert told == ["next"]

    run_virtual(main())


def test_very_short_steps_wake_it_a_thousand_times_a_second_at_most() -> None:
    async def main() -> int:
        wakes = 0
        batch = Batch(Pace(step=1e-6, per_sequence=1e-6))
        timed = TimedBatch(batch)
        advance = batch.advance

        def counted(now: float) -> list[Sequence]:
            nonlocal wakes
            wakes += 1
            return advance(now)

        batch.advance = counted  # type: ignore[method-assign]
        for tokens in range(1, 20_000, 10):
            timed.add(Sequence(1, tokens), lambda: None)
        added = wakes
        await asyncio.sleep(60)
        assert not batch.running
        return wakes - added

    assert 1 <= run_virtual(main()) <= 60_000
