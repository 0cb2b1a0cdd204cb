"""Secrets are where they belong and nowhere else, after a night in which everything happened."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from overnight.domain.api_key import digest_of
from support.canaries import (
    CONFIGURED_KEY,
    ECHO_KEY,
    PASSWORD,
    UPSTREAM_KEYS,
    WRONG_KEY,
    a_night,
)
from support.shared import shared

Night = dict[str, Any]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    made = a_night(tmp_path_factory.mktemp("night"))
    with shared(tmp_path_factory, "night", made) as told:
        yield told


def spellings(secret: str) -> set[str]:
    return {secret, secret.replace("/", "\\/"), json.dumps(secret)[1:-1]}


def found(night: Night, text: str, *allowed: str) -> set[str]:
    """The names of the secrets that are in a text."""
    secrets = {
        **UPSTREAM_KEYS,
        **night["secrets"],
        "configured": CONFIGURED_KEY,
        "wrong": WRONG_KEY,
        "password": PASSWORD,
    }
    return {
        name
        for name, secret in secrets.items()
        if name not in allowed and any(one in text for one in spellings(secret))
    }


def test_the_night_was_long_enough(night: Night) -> None:
    """Without this the others could find nothing because nothing had happened."""
    assert "died of an exception" in night["log"]
    assert "could not answer" in night["log"]
    assert (
        "/storage/…" in night["files"]["log/errors.jsonl"]
        or "\\u2026" in night["files"]["log/errors.jsonl"]
    )
    told = "".join(night["replies"])
    assert "I was sent" in told
    assert "out of order for Bearer ***" in told
    assert {"echo", "moved", "ill"} <= {name for name, sent in night["upstreams"].items() if sent}
    assert "overnight.sqlite3" in night["files"]
    assert '"echo"' in night["printed"]


def test_no_reply_holds_one(night: Night) -> None:
    # What the client itself sent in the address is told back to it.
    assert found(night, "".join(night["replies"]), "password") == set()


def test_no_log_holds_one(night: Night) -> None:
    assert found(night, night["log"]) == set()
    assert found(night, night["files"]["log/errors.jsonl"]) == set()


def test_no_command_prints_one(night: Night) -> None:
    assert found(night, night["printed"]) == set()


def test_no_command_line_of_a_process_holds_one(night: Night) -> None:
    assert found(night, night["processes"]) == set()


def test_the_data_folder_holds_digests_and_what_signs(night: Night) -> None:
    """A webhook's secret signs, so it must be kept; it is in the database alone."""
    for name, content in night["files"].items():
        allowed = ("webhook",) if name.startswith("overnight.sqlite3") else ()
        assert found(night, content, *allowed) == set(), name
    database = "".join(
        content for name, content in night["files"].items() if name.startswith("overnight.sqlite3")
    )
    assert digest_of(night["secrets"]["created"]) in database


def test_everything_in_the_data_folder_is_for_its_owner_alone(night: Night) -> None:
    """The service was started with a umask of 0, in a folder that others may enter."""
    assert {"secret", "overnight.sqlite3", "overnight.sqlite3-wal", "log/errors.jsonl"} <= night[
        "modes"
    ].keys()
    assert {name: oct(mode) for name, mode in night["modes"].items() if mode & 0o077} == {}


def test_an_upstream_gets_its_own_key_and_no_other(night: Night) -> None:
    for name, key in UPSTREAM_KEYS.items():
        for _, headers, body in night["upstreams"][name]:
            assert headers["authorization"] == f"Bearer {key}"
            assert found(night, f"{headers}{body}", name) == set()


def test_a_redirect_is_not_followed(night: Night) -> None:
    assert night["upstreams"]["moved"]
    assert night["upstreams"]["thief"] == []


def test_a_webhook_gets_no_key(night: Night) -> None:
    assert night["hooks"]
    for headers, body in night["hooks"]:
        assert "authorization" not in headers
        assert found(night, f"{headers}{body}") == set()


def test_the_errors_of_an_upstream_are_told_but_for_its_key(night: Night) -> None:
    told = "".join(night["replies"])
    assert "'authorization': 'Bearer ***'" in told
    assert ECHO_KEY not in told
