"""Runs `overnight …` in this process."""

from dataclasses import dataclass

from typer.testing import CliRunner

from overnight.cli.main import app


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    err: str


def overnight(*arguments: object) -> Ended:
    """Run a command; an exception that is no exit fails the test."""
    result = CliRunner().invoke(app, [str(one) for one in arguments], prog_name="overnight")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)
