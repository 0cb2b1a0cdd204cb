"""Bring a database file to the schema of this program; the only module that imports Alembic."""

from pathlib import Path
from typing import Final

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
    engine = open_engine(path)
    try:
        writer = engine.execution_options(begin="IMMEDIATE")
        with translated_errors(), writer.begin() as connection:
            _upgrade(connection, path)
    finally:
        engine.dispose()


def _upgrade(connection: Connection, path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    present = set(MigrationContext.configure(connection).get_current_heads())
    if not present <= known:
        raise ConfigurationError(
            f"{path} was written by a newer version of Overnight (schema "
            f"{', '.join(sorted(present - known))}); upgrade Overnight, or use another data folder."
        )
    command.upgrade(config, "head")
