"""The database of the simulated machine: SQLite in memory, and what a power loss does to it."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine

from overnight.domain.errors import Unavailable
from overnight.store.database import Database, open_engine
from overnight.store.tables import metadata
from simulation.process import Process
from simulation.thread import Thread

T = TypeVar("T")

_FULL: Final = 2
"""`PRAGMA synchronous`: each commit is synced before it is told. With less a power loss takes
those since the last checkpoint, as many as it likes."""
_UNSYNCED_MAX: Final = 40


class Commits:
    """The rows, and the commits that a power loss may take back."""

    def __init__(self, engine: Engine) -> None:
        with engine.begin() as tx:
            connection = tx.connection.driver_connection
            assert connection is not None
            self._connection = connection
        self._is_durable = _are_commits_synced()
        self._before: deque[bytes] = deque(maxlen=_UNSYNCED_MAX)

    def begun(self) -> None:
        """A transaction begins to write; all before it are committed."""
        if not self._is_durable:
            self._before.append(self._connection.serialize())

    def checkpointed(self) -> None:
        self._before.clear()

    def lose_power(self, chance: random.Random) -> bool:
        """Were commits lost?"""
        lost = bool(self._before)
        if lost:
            back_to = chance.choice([self._before[0], chance.choice(self._before)])
            self._connection.deserialize(back_to)
        self._before.clear()
        return lost


class ProcessDatabase(Database):
    """The machine's database, as one process uses it: sometimes busy, sometimes slow to answer."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._machine = process.machine
        self._threads = Thread(process)
        self._reader = self._machine.engine
        self._writer = self._machine.engine.execution_options(begin="IMMEDIATE")
        self._seen: int | None = None

    async def read(self, work: Callable[[Connection], T]) -> T:
        await self._admission()
        return await super().read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        await self._admission()
        history, process = self._machine.history, self._process
        process.freeze_at_write()
        return await super().write(lambda tx: history.watch(process, tx, work))

    async def changed(self) -> bool:
        await self._admission()
        others = self._machine.history.commits - self._process.own_commits
        changed, self._seen = others != self._seen, others
        return changed

    async def checkpoint(self) -> None:
        await self._admission()
        self._machine.commits.checkpointed()

    async def close(self) -> None:
        self._threads.close()

    async def _admission(self) -> None:
        while self._machine.database_stalled:  # noqa: ASYNC110  virtual time costs nothing
            await asyncio.sleep(0.1)
        if self._machine.database_busy:
            raise Unavailable("The database can not serve right now: database is locked.")


@cache
def _are_commits_synced() -> bool:
    """As a fresh connection is set up; one that was put back forgets it."""
    with open_engine(Path(":memory:")).begin() as tx:
        return int(tx.exec_driver_sql("PRAGMA synchronous").scalar_one()) >= _FULL


@cache
def _engine() -> Engine:
    engine = open_engine(Path(":memory:"))
    metadata.create_all(engine)
    return engine


def empty_database() -> Engine:
    """One for all runs of this interpreter, for preparing its statements costs more than a run."""
    engine = _engine()
    with engine.begin() as tx:
        for table in reversed(metadata.sorted_tables):
            tx.execute(table.delete())
    return engine
