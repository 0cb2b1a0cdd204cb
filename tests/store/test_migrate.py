import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from overnight.domain.errors import ConfigurationError, Corrupt
from overnight.store.database import open_engine
from overnight.store.migrate import migrate
from overnight.store.tables import metadata


def schema(path: Path) -> dict[str, str]:
    """What SQLite keeps of each table and index, however it is broken into lines."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql NOT NULL AND name != 'alembic_version'"
        )
        return {name: " ".join(sql.split()) for name, sql in rows}


def test_migrations_lead_to_the_tables_that_the_code_knows(tmp_path: Path) -> None:
    migrate(tmp_path / "migrated.db")
    engine = open_engine(tmp_path / "created.db")
    with engine.begin() as tx:
        metadata.create_all(tx)
    engine.dispose()
    created = schema(tmp_path / "created.db")
    assert {"jobs", "shards", "shards_free"} <= created.keys()
    assert schema(tmp_path / "migrated.db") == created


def test_migrating_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "overnight.db"
    migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO workers VALUES ('w1', 'worker', 1.0, 2.0)")
        connection.commit()
    before = schema(path)
    migrate(path)
    assert schema(path) == before
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id FROM workers").fetchall() == [("w1",)]


def test_a_database_of_a_newer_program_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "overnight.db"
    migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(ConfigurationError, match=r"newer version of Overnight \(schema 9999\)"):
        migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM alembic_version").fetchall() == [("9999",)]


def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "overnight.db"
    path.write_bytes(b"this is not a database. " * 400)
    with pytest.raises(Corrupt, match="not a database"):
        migrate(path)


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "100% #1?mode=ro"
    folder.mkdir()
    migrate(folder / "overnight.db")
    assert "jobs" in schema(folder / "overnight.db")
