import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from overnight.domain.errors import Corrupt, Unavailable
from overnight.seams import OneThread
from overnight.store.database import Database

T = TypeVar("T")


def with_databases(path: Path, count: int, work: Callable[..., Awaitable[T]]) -> T:
    """Run `work` with that many databases on one file, each like a process of its own."""

    async def run() -> T:
        databases = [Database(path, OneThread(f"database {n}")) for n in range(count)]
        try:
            return await work(*databases)
        finally:
            for database in databases:
                await database.close()

    return asyncio.run(run())


def sql(text: str) -> Callable[[Connection], list[tuple[object, ...]]]:
    def work(tx: Connection) -> list[tuple[object, ...]]:
        result = tx.exec_driver_sql(text)
        return [tuple(row) for row in result] if result.returns_rows else []

    return work


def add_one_slowly(tx: Connection) -> None:
    """Reads, then writes what it read: loses additions unless transactions exclude each other."""
    value = tx.exec_driver_sql("SELECT value FROM numbers").scalar_one()
    tx.exec_driver_sql("UPDATE numbers SET value = ?", (value + 1,))


def size_of(path: Path) -> int:
    return path.stat().st_size


@pytest.fixture
def path(tmp_path: Path) -> Path:
    async def create(database: Database) -> None:
        await database.write(sql("CREATE TABLE numbers (value INTEGER)"))
        await database.write(sql("INSERT INTO numbers VALUES (0)"))

    with_databases(tmp_path / "overnight.db", 1, create)
    return tmp_path / "overnight.db"


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),  # FULL
        ("foreign_keys", 1),
        ("busy_timeout", 5000),
        ("wal_autocheckpoint", 0),
        ("mmap_size", 0),
    ],
)
def test_the_connection_is_set_up(path: Path, pragma: str, value: object) -> None:
    async def work(database: Database) -> None:
        assert await database.read(sql(f"PRAGMA {pragma}")) == [(value,)]

    with_databases(path, 1, work)


def test_a_write_that_raises_did_not_happen(path: Path) -> None:
    def write_and_fail(tx: Connection) -> None:
        tx.exec_driver_sql("UPDATE numbers SET value = 7")
        raise LookupError("after the write")

    async def work(database: Database) -> None:
        with pytest.raises(LookupError, match="after the write"):
            await database.write(write_and_fail)
        assert await database.read(sql("SELECT value FROM numbers")) == [(0,)]

    with_databases(path, 1, work)


def test_writes_of_several_connections_exclude_each_other(path: Path) -> None:
    async def work(*databases: Database) -> None:
        async with asyncio.TaskGroup() as group:
            for database in databases * 25:
                group.create_task(database.write(add_one_slowly))
        assert await databases[0].read(sql("SELECT value FROM numbers")) == [(100,)]

    with_databases(path, 4, work)


def test_a_read_sees_one_state_throughout(path: Path) -> None:
    async def work(reader: Database, writer: Database) -> None:
        loop = asyncio.get_running_loop()

        def read_around_a_write(tx: Connection) -> tuple[object, object]:
            before = tx.exec_driver_sql("SELECT value FROM numbers").scalar_one()
            asyncio.run_coroutine_threadsafe(writer.write(add_one_slowly), loop).result(10)
            return before, tx.exec_driver_sql("SELECT value FROM numbers").scalar_one()

        assert await reader.read(read_around_a_write) == (0, 0)
        assert await reader.read(sql("SELECT value FROM numbers")) == [(1,)]

    with_databases(path, 2, work)


def test_changed_tells_of_commits_of_others_alone(path: Path) -> None:
    async def work(mine: Database, other: Database) -> None:
        assert await mine.changed()
        assert not await mine.changed()
        await mine.write(add_one_slowly)
        assert not await mine.changed()
        await other.write(add_one_slowly)
        assert await mine.changed()
        assert not await mine.changed()

    with_databases(path, 2, work)


def test_a_busy_file_is_unavailable_and_then_available_again(path: Path) -> None:
    async def work(blocked: Database, holder: Database) -> None:
        await blocked.read(sql("PRAGMA busy_timeout = 20"))
        loop = asyncio.get_running_loop()

        def write_inside_of_a_write(_tx: Connection) -> None:
            attempt = asyncio.run_coroutine_threadsafe(blocked.write(add_one_slowly), loop)
            with pytest.raises(Unavailable, match="locked"):
                attempt.result(10)

        await holder.write(write_inside_of_a_write)
        await blocked.write(add_one_slowly)
        assert await holder.read(sql("SELECT value FROM numbers")) == [(1,)]

    with_databases(path, 2, work)


def test_a_full_disk_is_unavailable_and_nothing_of_the_write_stays(path: Path) -> None:
    async def work(database: Database) -> None:
        ((pages,),) = await database.read(sql("PRAGMA page_count"))
        await database.read(sql(f"PRAGMA max_page_count = {pages}"))
        with pytest.raises(Unavailable, match="full"):
            await database.write(sql("INSERT INTO numbers SELECT randomblob(1000000)"))
        assert await database.read(sql("SELECT count(*) FROM numbers")) == [(1,)]

    with_databases(path, 1, work)


def test_a_file_that_can_not_be_opened_is_unavailable(tmp_path: Path) -> None:
    async def work(database: Database) -> None:
        with pytest.raises(Unavailable, match="unable to open"):
            await database.read(sql("SELECT 1"))

    with_databases(tmp_path / "no such folder" / "overnight.db", 1, work)


def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "overnight.db"
    path.write_bytes(b"this is not a database. " * 400)

    async def work(database: Database) -> None:
        with pytest.raises(Corrupt, match="not a database"):
            await database.read(sql("SELECT 1"))

    with_databases(path, 1, work)


def test_a_mistake_in_sql_is_no_outage(path: Path) -> None:
    async def work(database: Database) -> None:
        with pytest.raises(Exception, match="no such table") as caught:
            await database.read(sql("SELECT * FROM nowhere"))
        assert not isinstance(caught.value, Unavailable | Corrupt)

    with_databases(path, 1, work)


def test_a_checkpoint_moves_commits_into_the_file(path: Path) -> None:
    async def work(database: Database) -> None:
        size = size_of(path)
        await database.write(sql("INSERT INTO numbers SELECT randomblob(1000000)"))
        assert size_of(path) == size
        await database.checkpoint()
        assert size_of(path) > 1_000_000

    with_databases(path, 1, work)


def test_a_checkpoint_empties_a_log_that_has_grown_large(path: Path) -> None:
    async def work(database: Database) -> None:
        log = path.with_name(path.name + "-wal")
        await database.write(sql("INSERT INTO numbers SELECT zeroblob(70000000)"))
        assert size_of(log) > 64 * 1024 * 1024
        await database.checkpoint()
        assert size_of(log) == 0

    with_databases(path, 1, work)
