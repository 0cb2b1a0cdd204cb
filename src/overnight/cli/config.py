"""`overnight config`: the settings in force and where each came from; a file to begin with."""

import json
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from overnight.cli.options import ConfigOption, JsonOption
from overnight.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from overnight.settings import Loaded

_TOP: Final = "service"
"""What the settings outside of any table are called where there are headings."""


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    value: object
    origin: str
    meaning: str

    @property
    def group(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def shown(self) -> str:
        return "unset" if self.value is None else json.dumps(self.value, ensure_ascii=False)


def show(*, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the settings in force, secrets hidden, and where each comes from.

    As `serve` would have them without flags: environment over TOML file over default.

    \b
    Example:
      overnight config show --config night.toml
    """
    from overnight.settings import load

    loaded = load({}, config)
    rows = list(_rows(loaded))
    if as_json:
        print(json.dumps(_as_data(rows, loaded), indent=2, ensure_ascii=False))
    elif sys.stdout.isatty():
        _print_groups(rows)
    else:
        for row in rows:
            print(row.name, row.shown, row.origin, row.meaning, sep="\t")
    for variable in loaded.strangers:
        print(f"warning: {variable} looks like a setting and is none", file=sys.stderr)


def init(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="File to write; `-` prints it.")
    ] = Path("overnight.toml"),
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a configuration file with every setting, its default and its meaning.

    All of it is commented out: as it is, the file changes nothing.

    \b
    Examples:
      overnight config init
      overnight config init - | less
    """
    from overnight.settings.template import template

    if str(path) == "-":
        print(template(), end="")
        return
    _write(path, template(), force)
    named = "" if path == Path("overnight.toml") else f" --config {path}"
    print(f"Wrote {path}. Name your server under [[upstreams]], then: overnight serve{named}")


def _write(path: Path, text: str, force: bool) -> None:
    """Readable for nobody else, for keys are going to stand in it."""
    try:
        kind = os.O_TRUNC if force else os.O_EXCL
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | kind, 0o600), "w") as file:
            file.write(text)
    except FileExistsError:
        refusal = ConfigurationError(f"{path} exists already.")
        refusal.add_note("Replace it with --force, or name another file.")
        raise refusal from None
    except OSError as error:
        raise ConfigurationError(f"{path} can not be written: {error.strerror}.") from error


def _rows(loaded: "Loaded") -> Iterator[_Row]:
    from overnight.settings.fields import meaning_of

    values = _flat(loaded.settings.model_dump(mode="json"))
    # What stands outside of tables first, as in the file.
    for name, value in sorted(values, key=lambda pair: "." in pair[0]):
        yield _Row(name, value, loaded.origin(name), meaning_of(name))


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for number, one in enumerate(value):
                yield from _flat(one, f"{prefix}{name}.{number}.")
        else:
            yield prefix + name, value


def _as_data(rows: Iterable[_Row], loaded: "Loaded") -> dict[str, object]:
    return {
        "settings": {
            row.name: {"value": row.value, "origin": row.origin, "meaning": row.meaning}
            for row in rows
        },
        "unknown_variables": loaded.strangers,
    }


def _print_groups(rows: list[_Row]) -> None:
    """A heading for each table; under each setting its meaning, in the terminal's width."""
    from rich.text import Text

    from overnight.cli.console import standard_output

    console = standard_output()
    width = max(len(row.name.rpartition(".")[2]) for row in rows)
    indent = " " * (width + 4)
    for number, (group, members) in enumerate(groupby(rows, lambda row: row.group)):
        console.print(Text(("\n" if number else "") + (group or _TOP), style="bold"))
        for row in members:
            changed = row.origin != "default"
            line = Text(f"  {row.name.rpartition('.')[2]:{width}}  ")
            line.append(row.shown, "cyan" if changed else "")
            if changed:
                fits = len(line) + 2 + len(row.origin) <= console.width
                line.append(("  " if fits else f"\n{indent}") + row.origin, "yellow")
            console.print(line)
            told = textwrap.wrap(row.meaning, max(20, console.width - len(indent)))
            console.print(Text("\n".join(indent + piece for piece in told), style="dim"))
