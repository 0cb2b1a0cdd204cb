"""Bring a database file to the schema of this program; the only module that imports Alembic."""

from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from overnight.domain.errors import ConfigurationError
from overnight.store.database import open_engine, translated_errors

_SCRIPTS: Final = Path(__file__).parent / "migrations"


def migrate(path: Path) -> None:
    """Make the database at `path`, or upgrade it, in one transaction.

    Raises `ConfigurationError` when a newer program has written it, `Unavailable` and `Corrupt`
    as `Database` does.
    """
    # SQLite gives its write-ahead log the mode of the file itself. Why it can not be made, if it
    # can not, SQLite says better.
    with suppress(OSError):
        path.touch(0o600)
    engine = open_engine(path)
    try:
        writer = engine.execution_options(begin="IMMEDIATE")
        with translated_errors(), writer.begin() as connection:
            _upgrade(connection, path)
    finally:
        engine.dispose()


class Schema(NamedTuple):
    """Revisions: that of the database (none when it is empty), this program's newest, and all."""

    present: frozenset[str]
    newest: str
    known: frozenset[str]


def schema(connection: Connection) -> Schema:
    """Reads only."""
    scripts = ScriptDirectory.from_config(_config())
    return Schema(
        frozenset(MigrationContext.configure(connection).get_current_heads()),
        scripts.get_current_head() or "",
        frozenset(script.revision for script in scripts.walk_revisions()),
    )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config


def _upgrade(connection: Connection, path: Path) -> None:
    found = schema(connection)
    if not found.present <= found.known:
        raise ConfigurationError(
            f"{path} was written by a newer version of Overnight (schema "
            f"{', '.join(sorted(found.present - found.known))}); upgrade Overnight, "
            "or use another data folder."
        )
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
