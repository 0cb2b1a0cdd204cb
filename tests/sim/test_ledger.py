from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.sim import ledger as module
from overnight.sim.ledger import MAX_TIMES, Ledger

# Few different low bytes and fingerprints, so that tables fill, collide and wrap around.
digests = st.builds(
    lambda low, high: high << 8 | low,
    st.sampled_from([0, 1, 255]),
    st.integers(0, 400) | st.sampled_from([2**56 - 1, 2**56 - 2, 63, 127]),
)


@given(st.lists(st.tuples(digests, st.booleans()), max_size=600))
def test_counts_as_a_dictionary_does(events: list[tuple[int, bool]]) -> None:
    ledger, times, answered = Ledger(), Counter[int](), set[int]()
    for digest, is_answer in events:
        if is_answer:
            ledger.answer(digest)
            answered |= {digest} & times.keys()
        else:
            times[digest] += 1
            expected = (min(times[digest], MAX_TIMES), digest in answered)
            assert ledger.receive(digest) == expected
    assert len(ledger) == len(times)
    assert all(ledger.times_received(d) == min(n, MAX_TIMES) for d, n in times.items())
    assert ledger.times_received(2) == 0


def test_keeps_all_it_holds_when_a_table_grows() -> None:
    ledger = Ledger()
    many = [n * 0x9E3779B97F4A7C15 % 2**64 & ~0xFF for n in range(1, 5001)]
    for digest in many:
        ledger.receive(digest)
        ledger.answer(digest)
    assert all(ledger.receive(digest) == (2, True) for digest in many)


def test_times_stop_at_the_most_a_slot_holds() -> None:
    ledger = Ledger()
    received = [ledger.receive(7)[0] for _ in range(MAX_TIMES + 5)]
    assert received[-6:] == [MAX_TIMES] * 6
    assert ledger.receive(7 + 256) == (1, False)


def test_a_full_table_remembers_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SLOTS", module.FIRST_SLOTS)
    ledger = Ledger()
    for n in range(1, 101):
        assert ledger.receive(n << 8) == (1, False)
        ledger.answer(n << 8)
    assert len(ledger) == module.FIRST_SLOTS * 3 // 4
    assert ledger.receive(1 << 8) == (2, True)
    assert ledger.receive(100 << 8) == (1, False)
