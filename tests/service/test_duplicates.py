"""Digests that occur twice are found, however many lie between them."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from overnight.service.duplicates import IdDigests


@given(
    st.lists(st.tuples(st.integers(0, 900), st.integers(0, 900)), max_size=12),
    st.sampled_from([1, 256]),
)
def test_repeats_are_found(runs: list[tuple[int, int]], factor: int) -> None:
    """With the factor 256 all fall into one bucket, which is put away many times."""
    ids = [number for start, count in runs for number in range(start, start + count)]
    twice = {number * factor for number, count in Counter(ids).items() if count > 1}
    found, counted = (IdDigests(lambda name: int(name) * factor) for _ in range(2))
    for start, count in runs:
        names = [b"%d" % number for number in range(start, start + count)]
        found.add(names)
        counted.add(names)
    assert set().union(*found.repeated()) == twice
    assert counted.count_repeats() == len(ids) - len(set(ids))
