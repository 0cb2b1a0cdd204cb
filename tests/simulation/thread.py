"""The thread of a simulated process: blocking work takes its time, one thing after the other."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from support.memory_disk import Died

if TYPE_CHECKING:
    from simulation.process import Process

T = TypeVar("T")


class _Errand:
    def __init__(self, work: Callable[[], object], future: "asyncio.Future[object]") -> None:
        self.work: Callable[[], object] | None = work
        self.future = future


class Thread:
    """`seams.Threads`: takes its time, and goes on with what was begun when nobody waits."""

    def __init__(self, process: "Process") -> None:
        self._process = process
        self._waiting: deque[_Errand] = deque()
        self._begun: _Errand | None = None

    async def run(self, work: Callable[[], T]) -> T:
        if not self._process.alive:
            raise Died
        errand = _Errand(work, asyncio.get_running_loop().create_future())
        self._waiting.append(errand)
        if self._begun is None:
            self._next()
        return await errand.future  # type: ignore[return-value]

    def close(self) -> None:
        """Wait for what was begun, forget what was not."""
        for errand in self._waiting:
            errand.future.cancel()
        self._waiting.clear()
        if self._begun is not None and self._process.alive:
            self._do(self._begun)

    def _next(self) -> None:
        self._begun = None
        while self._waiting and self._begun is None:
            errand = self._waiting.popleft()
            if not errand.future.done():
                self._begun = errand
        if self._begun is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(self._process.machine.thread_seconds(), self._carry_out, self._begun)

    def _carry_out(self, errand: _Errand) -> None:
        self._do(errand)
        self._next()

    def _do(self, errand: _Errand) -> None:
        work, errand.work = errand.work, None
        if work is None:
            return
        try:
            result = self._process.act("thread", work)
        except BaseException as error:  # noqa: BLE001  it belongs to who waits for it
            if not errand.future.done():
                errand.future.set_exception(error)
                errand.future.exception()
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(self._process.machine.thread_seconds(), _tell, errand.future, result)


def _tell(future: "asyncio.Future[object]", result: object) -> None:
    if not future.done():
        future.set_result(result)
