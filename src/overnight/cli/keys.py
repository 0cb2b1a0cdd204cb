"""`overnight keys …`: the keys of a data folder, whether a service runs on it or not."""

import json
import re
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from overnight.cli.options import ConfigOption, DataDirOption, JsonOption
from overnight.domain.dialect import Dialect
from overnight.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from overnight.cli.tables import Cell
    from overnight.domain.api_key import ApiKey
    from overnight.service.keys import Keys
    from overnight.settings import Settings

T = TypeVar("T")

_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_NONE_LEFT: Final = "No key is left: nobody gets in until another is created."
_DURATION: Final = re.compile(r"([1-9]\d{0,5})([smhdw])")


def _seconds(text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise typer.BadParameter(
            f"'{text}' is no duration; write a number and s, m, h, d or w, such as 90d."
        )
    return int(match[1]) * float(_UNIT_SECONDS[match[2]])


NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="What to call the key.")]
TenantOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Whose files and jobs it shows [default: its own]"),
]
DialectOption = Annotated[
    Dialect | None,
    typer.Option(metavar="NAME", help="Spoken where a request does not say: openai or together."),
]
ExpiresOption = Annotated[
    float | None,
    typer.Option(
        parser=_seconds,
        metavar="TIME",
        help="How long it is valid, such as 90d [default: no end]",
    ),
]


def create(  # noqa: PLR0913  a flag each
    name: NameArgument,
    *,
    tenant: TenantOption = None,
    dialect: DialectOption = None,
    expires: ExpiresOption = None,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it, once: only its hash is kept.

    A running service takes it within 2 seconds. Keys of one tenant see the same files and jobs;
    to replace a key, make another for its tenant. With the first key the service stops
    serving those who have none.

    \b
    Examples:
      overnight keys create alice
      overnight keys create nightly-job --tenant alice --expires 90d
    """
    from overnight.service.keys import NewKey

    settings = _settings(data_dir, config)
    wish = NewKey(name, tenant, dialect, expires)
    wish.check()

    async def make(keys: "Keys") -> "tuple[str, ApiKey, bool]":
        is_first = not await keys.list()
        return *(await keys.create(wish)), is_first

    secret, key, is_first = _on_folder(settings, make, may_make=True)
    print(json.dumps({**asdict(key), "key": secret}) if as_json else secret)
    _say(f"Key '{key.name}' of the tenant '{key.tenant}'. It is not shown again.")
    if is_first and not settings.api_keys:
        _say("From now on a key is needed. What was made without one belongs to the tenant local.")


def list_keys(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also keys that were revoked.")] = False,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the keys, the newest first. Those of the settings are not among them.

    \b
    Example:
      overnight keys list --data-dir /var/lib/overnight
    """
    settings = _settings(data_dir, config)
    keys = _on_folder(settings, lambda keys: keys.list())
    shown = [key for key in keys if everything or key.revoked_at is None]
    if as_json:
        print(json.dumps({"keys": [asdict(key) for key in shown]}))
        return
    _print_keys(shown)
    if settings.api_keys:
        _say("The settings name keys too; those are not listed.")
    elif not keys:
        _say("No keys: none is needed.")
    elif not shown:
        _say(_NONE_LEFT)


def revoke(
    word: Annotated[
        str, typer.Argument(metavar="NAME|PREFIX", help="The key's name, or how it begins.")
    ],
    *,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a key out of use, within 2 seconds. Files and jobs stay.

    \b
    Example:
      overnight keys revoke alice
    """
    settings = _settings(data_dir, config)

    async def revoke(keys: "Keys") -> "tuple[ApiKey, bool]":
        revoked = await keys.revoke(word)
        return revoked, any(key.revoked_at is None for key in await keys.list())

    key, others_left = _on_folder(settings, revoke)
    print(json.dumps(asdict(key)) if as_json else f"{key.name}  {key.prefix}  revoked")
    if not (others_left or settings.api_keys):
        _say(_NONE_LEFT)


def _say(line: str) -> None:
    """Beside what is printed for pipes."""
    print(line, file=sys.stderr)


def _settings(data_dir: Path | None, config: Path | None) -> "Settings":
    from overnight.settings import load

    return load({"data_dir": data_dir}, config).settings


def _on_folder(
    settings: "Settings", work: "Callable[[Keys], Awaitable[T]]", *, may_make: bool = False
) -> T:
    """Raises `ConfigurationError` when nothing is in the folder, unless that may be made."""
    import asyncio

    from overnight.node import database_path
    from overnight.seams import Seams
    from overnight.service.keys import Keys
    from overnight.store.database import Database
    from overnight.store.migrate import migrate
    from overnight.supervisor.folder import make_folder

    path = database_path(settings)
    if may_make:
        make_folder(settings.data_dir)
    elif not path.exists():
        refusal = ConfigurationError(f"There are no keys: {path} is not there.")
        refusal.add_note("Name the service's folder with --data-dir.")
        raise refusal
    migrate(path)
    seams = Seams()

    async def run() -> T:
        database = Database(path, seams.threads("database"))
        try:
            return await work(Keys(database, seams))
        finally:
            await database.close()

    return asyncio.run(run())


def _print_keys(keys: "Sequence[ApiKey]") -> None:
    from overnight.cli.tables import Column, print_table

    columns = [
        Column("name", shortened=True),
        Column("prefix"),
        Column("tenant", shortened=True),
        Column("expires"),
        Column("last_used"),
        Column("created"),
        Column("dialect"),
    ]
    print_table(columns, map(_row, keys))


def _row(key: "ApiKey") -> "list[Cell]":
    from overnight.cli.tables import Cell

    return [
        Cell.text(key.name),
        Cell(key.prefix, key.prefix),
        Cell.text(key.tenant),
        _end(key),
        Cell.age(key.last_used_at),
        Cell.age(key.created_at),
        Cell.text(key.dialect),
    ]


def _end(key: "ApiKey") -> "Cell":
    """When it ends, or that it has."""
    from overnight.cli.tables import Cell, relative, utc

    if key.revoked_at is not None:
        return Cell("revoked", f"revoked {utc(key.revoked_at)}", "red")
    if key.expires_at is None:
        return Cell("never", "")
    over = key.expires_at <= time.time()
    return Cell(relative(key.expires_at), utc(key.expires_at), "red" if over else "")
