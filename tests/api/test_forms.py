"""Upload forms, however they are cut on the way."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.api.forms import _FormReader, base_name
from overnight.domain.errors import InvalidRequest, LimitExceeded


def part(name: str, body: bytes, filename: str | None = None) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    return b"--XX\r\n" + disposition.encode() + b"\r\n\r\n" + body + b"\r\n"


def read(body: bytes, cuts: list[int]) -> tuple[dict[str, str], str | None, bytes]:
    reader = _FormReader(b"XX")
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    pieces = [piece for start, end in pairwise(edges) for piece in reader.feed(body[start:end])]
    form = reader.finish()
    return form.fields, form.file_name, b"".join(pieces)


LIKE_BOUNDARIES = st.lists(
    st.sampled_from([b"\r", b"\n", b"-", b"X", b"\r\n", b"\r\n--", b"\r\n--X", b"line"])
).map(b"".join)


@given(
    st.binary(max_size=200) | LIKE_BOUNDARIES,
    st.booleans(),
    st.lists(st.integers(0, 1000), max_size=8),
)
def test_any_bytes_in_any_order_in_any_pieces(
    data: bytes, file_first: bool, cuts: list[int]
) -> None:
    parts = [part("purpose", "bätch".encode()), part("file", data, "dir/ü\u2028.jsonl")]
    body = b"".join(reversed(parts) if file_first else parts) + b"--XX--\r\n"
    if b"\r\n--XX" in data:
        return
    assert read(body, cuts) == ({"purpose": "bätch"}, "ü\u2028.jsonl", data)


def test_text_fields_alone_are_a_form_without_a_file() -> None:
    body = part("purpose", b"batch-api") + part("file_name", b"a.jsonl") + b"--XX--\r\n"
    assert read(body, []) == ({"purpose": "batch-api", "file_name": "a.jsonl"}, None, b"")


def test_a_body_that_ends_early_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="closing boundary"):
        read(part("purpose", b"batch"), [])


def test_a_body_that_is_no_form_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="can not be read"):
        read(b"{}", [])


def test_a_second_file_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="one file"):
        read(part("file", b"a", "a") + part("file", b"b", "b") + b"--XX--\r\n", [])


def test_fields_are_bounded() -> None:
    with pytest.raises(LimitExceeded, match="more than 16,384 bytes"):
        read(part("purpose", b"x" * 20_000) + b"--XX--\r\n", [])
    with pytest.raises(LimitExceeded, match="more than 32 fields"):
        read(b"".join(part(f"f{n}", b"") for n in range(40)) + b"--XX--\r\n", [])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jsonl", "a.jsonl"),
        ("../../etc/passwd", "passwd"),
        ("C:\\data\\a.jsonl", "a.jsonl"),
        ("", ""),
        ("dir/", ""),
        ("a\tb", "a\tb"),
    ],
)
def test_names_lose_their_directories(name: str, expected: str) -> None:
    assert base_name(name) == expected
