"""What a list of models is read as."""

import pytest

from overnight.cli.probe import model_names


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"data": [{"id": "a"}, {"id": "b"}]}', ("a", "b")),
        (b'[{"id": "a"}]', ("a",)),
        (b'[{"id": "a"}, {"id": 1}, {}, 7]', ("a",)),
        (b'[{"id": "\\u001b[2J"}, {"id": "a"}]', ("a",)),
        (b"[]", ()),
        (b"{}", None),
        (b"<html>", None),
        (100_000 * b"[", None),
    ],
)
def test_model_names(body: bytes, names: tuple[str, ...] | None) -> None:
    assert model_names(body) == names
