"""Ranges of a download."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.api.content import ByteRange, parse_range

WHOLE = ByteRange(0, 10)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, WHOLE),
        ("bytes=0-1", ByteRange(0, 2)),
        ("bytes=4-", ByteRange(4, 10)),
        ("bytes=-3", ByteRange(7, 10)),
        ("bytes=-99", WHOLE),
        ("bytes=5-99", ByteRange(5, 10)),
        ("bytes=10-", None),
        ("bytes=-0", None),
        ("bytes=5-4", WHOLE),
        ("bytes=0-1,4-5", WHOLE),
        ("bytes=-", WHOLE),
        ("lines=0-1", WHOLE),
        ("bytes=a-b", WHOLE),
    ],
)
def test_ranges(header: str | None, expected: ByteRange | None) -> None:
    assert parse_range(header, 10) == expected


@given(st.from_regex(r"bytes=\d{0,3}-\d{0,3}", fullmatch=True), st.integers(0, 300))
def test_a_range_never_leaves_the_file(header: str, size: int) -> None:
    span = parse_range(header, size)
    assert span is None or 0 <= span.start <= span.stop <= size
