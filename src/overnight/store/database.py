"""One SQLite file, one connection, one thread; every unit of work is one transaction."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError

from overnight.domain.errors import Corrupt, Unavailable
from overnight.seams import Threads

T = TypeVar("T")

_WAL_BYTES_MAX: Final = 64 * 1024 * 1024

_PRAGMAS: Final = (
    "PRAGMA busy_timeout = 5000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    # A page that can not be read must be an error of one statement, not the process's SIGBUS.
    "PRAGMA mmap_size = 0",
    # Only the clerk checkpoints: two at once can lose commits in SQLite before 3.51.3, and a
    # worker must never pay for one.
    "PRAGMA wal_autocheckpoint = 0",
)

_UNAVAILABLE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOMEM,
    }
)
_CORRUPT: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def open_engine(path: Path) -> Engine:
    """An engine with one connection to the file at `path`, made if there is none.

    Transactions are deferred unless the engine or the connection has the execution option
    `begin="IMMEDIATE"`. The driver's own idea of when to begin is switched off: it begins late,
    and a transaction that reads before it writes would then fail instead of waiting its turn.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=StaticPool,
        connect_args={"isolation_level": None},
        # Errors end up in logs, and among the values are the secrets of webhooks.
        hide_parameters=True,
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', '')}")


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn what a caller can not mend into `Unavailable` or `Corrupt`; the rest are bugs."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        code = getattr(cause, "sqlite_errorcode", None)
        # The low byte is the kind, the others say more precisely what happened.
        kind = code & 0xFF if code is not None else None
        if kind in _UNAVAILABLE:
            raise Unavailable(f"The database can not serve right now: {cause}.") from error
        if kind in _CORRUPT:
            raise Corrupt(f"The database file is damaged: {cause}.") from error
        raise


class Database:
    """The database as one process sees it. Work is done in the order it was given.

    Owns `threads`, on which the connection is opened at first use and which `close` ends.
    Every method raises `Unavailable` when the file is busy, full or unreadable, and `Corrupt`
    when it is damaged; whatever `work` raises passes through.
    """

    def __init__(self, path: Path, threads: Threads) -> None:
        self._threads = threads
        self._reader = open_engine(path)
        self._writer = self._reader.execution_options(begin="IMMEDIATE")
        self._last_version: int | None = None

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that sees one state of the database throughout."""
        return await self._threads.run(lambda: _transact(self._reader, work))

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that no other writer overlaps.

        All of it is durable when this returns; none of it happened when this raises.
        """
        return await self._threads.run(lambda: _transact(self._writer, work))

    async def changed(self) -> bool:
        """Has another connection committed since the last call? True at the first."""
        version = await self._threads.run(lambda: self._pragma("data_version")[0])
        changed = version != self._last_version
        self._last_version = version
        return changed

    async def checkpoint(self) -> None:
        """Move commits from the write-ahead log into the database file; for the clerk alone.

        Waits for nobody, unless the log has outgrown 64 MiB: then it waits for readers, up to
        the busy timeout, so that the log can be emptied.
        """
        await self._threads.run(self._checkpoint)

    async def close(self) -> None:
        await self._threads.run(self._reader.dispose)
        self._threads.close()

    def _checkpoint(self) -> None:
        _, pages, _ = self._pragma("wal_checkpoint(PASSIVE)")
        if pages * self._pragma("page_size")[0] > _WAL_BYTES_MAX:
            self._pragma("wal_checkpoint(TRUNCATE)")

    def _pragma(self, text: str) -> tuple[int, ...]:
        """The first row of a pragma that must run outside of a transaction."""
        with translated_errors():
            connection = self._reader.raw_connection()
            try:
                cursor = connection.cursor()
                cursor.execute(f"PRAGMA {text}")
                row = cursor.fetchone()
                cursor.close()
            finally:
                connection.close()
        return tuple(row or ())


def _transact(engine: Engine, work: Callable[[Connection], T]) -> T:
    with translated_errors(), engine.begin() as connection:
        return work(connection)
