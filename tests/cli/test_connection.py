"""What the flags for a server come to, and which failures are the user's."""

import pytest

from overnight.cli.messages import ExitCode
from overnight.cli.remote.connection import DEFAULT_BASE_URL, Connection, Dialect, exit_code
from overnight.client.errors import BadReply, ClientError, Refused, Unreachable


def command(base_url: str, dialect: Dialect = Dialect.AUTO) -> str:
    return Connection(base_url, "s3cret", dialect).command("jobs", "watch", "batch_1")


def test_a_command_repeats_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(DEFAULT_BASE_URL) == "overnight jobs watch batch_1"
    assert command("http://a/v1").endswith("batch_1 --base-url http://a/v1")
    assert command(DEFAULT_BASE_URL, Dialect.TOGETHER).endswith("--dialect together")
    monkeypatch.setenv("OVERNIGHT_BASE_URL", "http://a/v1")
    assert command("http://a/v1") == "overnight jobs watch batch_1"
    assert command(DEFAULT_BASE_URL).endswith(f"--base-url {DEFAULT_BASE_URL}")


def test_a_command_holds_nothing_secret() -> None:
    assert "s3cret" not in command("http://me:s3cret@a/v1")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unreachable("x"), ExitCode.OUR_FAILURE),
        (BadReply("x"), ExitCode.OUR_FAILURE),
        (Refused("x", status=500), ExitCode.OUR_FAILURE),
        (Refused("x", status=429), ExitCode.OUR_FAILURE),
        (Refused("x", status=302), ExitCode.OUR_FAILURE),
        (Refused("x", status=401), ExitCode.USAGE),
        (Refused("x", status=404), ExitCode.USAGE),
        (Refused("x", status=413), ExitCode.USAGE),
        (ClientError("not a base URL"), ExitCode.USAGE),
    ],
)
def test_exit_codes(error: ClientError, code: ExitCode) -> None:
    assert exit_code(error) is code
