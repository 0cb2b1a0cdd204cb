import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

import overnight.store
from overnight.domain.errors import ConfigurationError, Corrupt
from overnight.domain.job import Counts
from overnight.store import jobs, shards
from overnight.store.database import open_engine
from overnight.store.migrate import migrate
from overnight.store.shards import Progress
from overnight.store.tables import metadata

MIGRATIONS = Path(overnight.store.__file__).parent / "migrations"

OLD_ROWS: dict[str, dict[str, object]] = {
    "jobs": {
        "id": "batch_a",
        "tenant": "local",
        "endpoint": "/v1/chat/completions",
        "input_file_id": "file-a",
        "input_bytes": 1_000,
        "line_rules": "openai",
        "status": "in_progress",
        "created_at": 1.0,
        "deadline": 90_000.0,
        "completion_window": "24h",
        "priority": 0,
        "total": 100,
        "succeeded": 40,
        "failed": 3,
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "faults": "[]",
        "clerk_epoch": 1,
        "last_served_at": 2.0,
    },
    "shards": {
        "job_id": "batch_a",
        "ordinal": 1,
        "model": "m",
        "first_record": 50,
        "requests": 50,
        "body_bytes": 500,
        "checksum": 7,
        "worker": "w1",
        "epoch": 1,
        "fruitless_takeovers": 0,
        "live_succeeded": 5,
        "live_failed": 0,
        "live_prompt_tokens": 2,
        "live_completion_tokens": 4,
    },
}
"""A job that a program of the first schema was working on."""


def schema(path: Path) -> dict[str, object]:
    """What each table and index is, whatever the order in which columns were added."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT type, name, sql FROM sqlite_master"
            " WHERE sql NOT NULL AND name != 'alembic_version'"
        ).fetchall()
        return {
            name: _columns(connection, name) if kind == "table" else " ".join(sql.split())
            for kind, name, sql in rows
        }


def _columns(connection: sqlite3.Connection, table: str) -> set[tuple[object, ...]]:
    """Name, type, null or not, default and place in the primary key; and foreign keys."""
    columns = connection.execute(f"SELECT * FROM pragma_table_xinfo('{table}')").fetchall()
    references = connection.execute(f"SELECT * FROM pragma_foreign_key_list('{table}')")
    return {column[1:] for column in columns} | set(references)


def test_migrations_lead_to_the_tables_that_the_code_knows(tmp_path: Path) -> None:
    migrate(tmp_path / "migrated.db")
    engine = open_engine(tmp_path / "created.db")
    with engine.begin() as tx:
        metadata.create_all(tx)
    engine.dispose()
    created = schema(tmp_path / "created.db")
    assert {"jobs", "shards", "shards_free"} <= created.keys()
    assert schema(tmp_path / "migrated.db") == created


def test_a_database_of_the_first_schema_keeps_its_jobs(tmp_path: Path) -> None:
    path = tmp_path / "overnight.db"
    engine = open_engine(path)
    with engine.execution_options(begin="IMMEDIATE").begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for table, row in OLD_ROWS.items():
            names, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
            connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), row)
    migrate(path)
    with engine.begin() as tx:
        job = jobs.get(tx, "batch_a")
        assert (job.total, job.counts) == (100, Counts(45, 3, 12, 24))
        held = ("batch_a", 1, 1)
        assert shards.renew_progress(tx, "w1", [Progress(*held, Counts(6, 0, 2, 4, 9))]) == []
        assert jobs.get(tx, "batch_a").counts == Counts(46, 3, 12, 24, 9)
    engine.dispose()


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
