"""Bring a database file to the schema of this program; the only module that imports Alembic."""

from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from overnight.domain.errors import ConfigurationError, Corrupt
from overnight.store.database import open_engine, translated_errors
from overnight.store.inspection import page_faults

_FAULTS_TOLD: Final = 3
_SCRIPTS: Final = Path(__file__).parent / "migrations"


def migrate(path: Path) -> None:
    """Make the database at `path`, or upgrade it, in one transaction; then read it all once.

    Raises `ConfigurationError` when a newer program has written it, `Unavailable` as `Database`
    does, and `Corrupt` when any page of it is damaged; notes say what to do.
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
        with translated_errors(), engine.begin() as connection:
            _refuse_damage(connection, path)
    except Corrupt as error:
        error.add_note(f"Keep a copy of {path.parent}, and put {path.name} back from a backup.")
        error.add_note(
            f"Without one: `sqlite3 {path.name} .recover | sqlite3 new.sqlite3` saves what can be "
            "read; the files themselves are in files/, named by their ids."
        )
        raise
    finally:
        engine.dispose()


def _refuse_damage(connection: Connection, path: Path) -> None:
    """A page that is damaged would end one process after another, whenever it is needed."""
    faults = page_faults(connection)
    if faults:
        raise Corrupt(f"The database {path} is damaged: {'; '.join(faults[:_FAULTS_TOLD])}.")


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
