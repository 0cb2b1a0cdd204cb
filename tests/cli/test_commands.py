"""What commands print, and the codes they end with."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from overnight.cli.main import app
from support.command_line import overnight


def test_version() -> None:
    assert overnight("--version").out.startswith("overnight ")


def test_help_names_the_commands() -> None:
    ended = overnight("--help")
    assert ended.code == 0
    for command in ("serve", "validate", "config"):
        assert command in ended.out


def test_help_loads_nothing_heavy() -> None:
    source = (
        "import sys\nfrom overnight.cli.main import main\nsys.argv = ['overnight', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    print('loaded', *sys.modules)"
    )
    reply = subprocess.run([sys.executable, "-c", source], capture_output=True, check=True)
    loaded = reply.stdout.decode().rpartition("loaded ")[2].split()
    heavy = {"fastapi", "httptools", "msgspec", "pydantic", "sqlalchemy", "uvicorn"}
    assert heavy.isdisjoint(loaded)


def test_an_unknown_flag_is_wrong_usage() -> None:
    assert overnight("serve", "--prot", 1).code == 2


def test_serve_needs_an_upstream() -> None:
    ended = overnight("serve")
    assert ended.code == 2
    assert ended.err.startswith("error: There is no upstream")
    assert "--upstream" in ended.err
    assert "overnight sim" in ended.err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "box.example"])
def test_serve_does_not_expose_an_open_service(host: str) -> None:
    ended = overnight("serve", "--upstream", "http://a/v1", "--host", host)
    assert ended.code == 2
    assert "--api-key" in ended.err
    assert "--allow-open" in ended.err


def test_wrong_settings_are_a_line_and_code_2() -> None:
    ended = overnight("serve", "--upstream", "localhost:1")
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert ended.err.startswith("error: Setting upstreams.0.url (--upstream): ")


def test_debug_keeps_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from overnight.domain.errors import ConfigurationError

    monkeypatch.setenv("OVERNIGHT_DEBUG", "1")
    with pytest.raises(ConfigurationError):
        overnight("serve")


def _commands(path: tuple[str, ...], command: object) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, TyperGroup):
        for name, member in command.commands.items():
            yield from _commands((*path, name), member)


@pytest.mark.parametrize("path", [*_commands((), get_command(app))], ids=" ".join)
def test_help_fits_a_terminal(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples are not folded, and broken ones can not be pasted."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = overnight(*path, "--help").out.splitlines()
    assert lines
    assert [line for line in lines if len(line) > 80] == []


def test_a_value_that_is_none_of_the_choices() -> None:
    ended = overnight("jobs", "list", "--status", "bogus")
    assert ended.code == 2
    assert "Invalid value for '--status': 'bogus' is not one of 'validating'," in ended.err
