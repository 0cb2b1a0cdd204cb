"""What `overnight run` says, without running."""

import pytest

from overnight.cli.run import without_keys


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("in.jsonl --upstream-api-key s3cret -o out", "in.jsonl --upstream-api-key KEY -o out"),
        ("in.jsonl --upstream-api-key=s3cret", "in.jsonl --upstream-api-key=KEY"),
        ("in.jsonl --upstream http://a/v1", "in.jsonl --upstream http://a/v1"),
        ("in.jsonl --upstream-api-key", "in.jsonl --upstream-api-key"),
    ],
)
def test_the_command_that_goes_on_shows_no_key(given: str, shown: str) -> None:
    assert without_keys(given.split()) == shown.split()
