"""The API's process without HTTP: the services behind its routes, asked by simulated users."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from overnight.domain.errors import CallerFault, Unavailable
from overnight.service.files import Files, FilesOptions
from overnight.service.jobs import Jobs
from overnight.service.part_uploads import PartUploads
from overnight.service.submission import JobsOptions
from overnight.service.webhooks.courier import Courier
from overnight.service.webhooks.endpoints import Webhooks
from simulation.database import ProcessDatabase
from simulation.process import Process
from support.memory_disk import Died

if TYPE_CHECKING:
    from simulation.machine import Machine

T = TypeVar("T")

ANSWER_SECONDS: Final = 8.0
"""How long a user waits."""
DRAIN_SECONDS: Final = 2.0
_LOST_ANSWERS: Final = 0.04
_FILES: Final = FilesOptions(secret=b"of the simulation, and known    ", early_join_bytes=300)


class Unanswered(Exception):  # noqa: N818  a fate, not a fault
    """Nobody knows whether what was asked for was done."""


class ClientGone(Exception):  # noqa: N818
    """The sender of a body has gone, as a server finds out that reads it."""


class Front:
    """What users reach of one incarnation of the API."""

    def __init__(self, process: Process, database: ProcessDatabase) -> None:
        self._process = process
        self._machine = process.machine
        self._database = database
        parts = (database, process.blobs, process.seams, _FILES)
        self.files = Files(*parts)
        self.parts = PartUploads(*parts)
        courier = Courier(process.seams, self._machine.clerk_options.deliverer.courier)
        self.webhooks = Webhooks(database, process.seams, courier, endpoints_max=9)
        self._requests: dict[asyncio.Task[Any], None] = {}
        self._is_open = False

    def jobs(self, window_seconds: float) -> Jobs:
        options = JobsOptions(window_seconds=window_seconds)
        return Jobs(self._database, self._process.blobs, self._process.seams, options)

    async def run(self, stop: asyncio.Event) -> None:
        with suppress(Unavailable):
            await self.files.clear_incoming()
        self._is_open = True
        await stop.wait()
        self._is_open = False
        if self._requests:
            await asyncio.wait(self._requests, timeout=DRAIN_SECONDS)
        for task in list(self._requests):
            task.cancel()
            await asyncio.wait([task])
        self.files.close()
        self.parts.close()

    async def ask(self, work: Callable[["Front"], Coroutine[Any, Any, T]]) -> T:
        """What the process answers; raises `Unanswered`, `CallerFault` and `Unavailable`."""
        if not self._is_open or not self._process.alive:
            raise Unanswered
        task = self._process.spawn(work(self))
        self._requests[task] = None
        task.add_done_callback(self._ended)
        await asyncio.wait([task], timeout=ANSWER_SECONDS)
        if not task.done() or task.cancelled() or not self._process.alive:
            raise Unanswered
        error = task.exception()
        if isinstance(error, CallerFault | Unavailable):
            raise error
        lost = not self._machine.healed and self._machine.chance.random() < _LOST_ANSWERS
        if error is not None or lost:
            raise Unanswered
        return task.result()

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        """Whether anybody still waits for the answer or not."""
        self._requests.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if error is None or not self._process.alive:
            return
        if not isinstance(error, CallerFault | Unavailable | ClientGone | Died):
            self._machine.history.broke(f"{self._process} answers with 500: {error!r}")


async def ask(machine: "Machine", work: Callable[[Front], Coroutine[Any, Any, T]]) -> T:
    """Ask until there is an answer; raises `CallerFault`."""
    while True:
        front = machine.front
        if front is not None:
            with suppress(Unanswered, Unavailable):
                return await front.ask(work)
        machine.history.counts["uploads: asked again"] += 1
        await asyncio.sleep(0.3)
