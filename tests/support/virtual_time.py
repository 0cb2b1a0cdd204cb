"""An event loop whose clock jumps: waiting costs nothing and happens in a fixed order."""

import asyncio
import heapq
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from itertools import count
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits when nothing is ready: it moves the loop's clock to the next timer instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            # Only something outside (a thread) can go on from here.
            return super().select(1.0)
        self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


class Owner(Protocol):
    """One of several processes that live in one loop."""

    def may_run(self, handle: asyncio.Handle) -> bool:
        """Asked before each callback. Who says no keeps the handle, and runs it when thawed."""
        ...


OWNER: ContextVar[Owner | None] = ContextVar("owner", default=None)
"""Whose code is running; tasks, timers and callbacks inherit it as they inherit any context."""


class _OwnedHandle(asyncio.Handle):
    __slots__ = ()

    def _run(self) -> None:
        owner = self._context.get(OWNER)
        if owner is None or owner.may_run(self):
            super()._run()


class _OwnedTimer(asyncio.TimerHandle):
    __slots__ = ()

    def _run(self) -> None:
        owner = self._context.get(OWNER)
        if owner is None or owner.may_run(self):
            super()._run()


class _NumberedTask(asyncio.Task[Any]):
    """Hashed by its number: sets of tasks, as task groups have, are gone through in one order."""

    def __init__(self, number: int, coro: Any, **how: Any) -> None:
        self.number = number
        super().__init__(coro, **how)

    def __hash__(self) -> int:
        return self.number


class ProcessLoop(VirtualLoop):
    """A virtual loop for several processes, each of which can be frozen as by SIGSTOP."""

    def __init__(self) -> None:
        super().__init__()
        numbers = count()
        self.set_task_factory(
            lambda loop, coro, **how: _NumberedTask(next(numbers), coro, loop=loop, **how)
        )

    def _call_soon(
        self, callback: Callable[..., object], args: Any, context: Context | None
    ) -> asyncio.Handle:
        handle = _OwnedHandle(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self._check_closed()  # type: ignore[attr-defined]
        timer = _OwnedTimer(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def thaw(self, handles: list[asyncio.Handle]) -> None:
        """Run what a frozen process kept, in the order in which it came up."""
        self._ready.extend(handle for handle in handles if not handle.cancelled())  # type: ignore[attr-defined]


class VirtualClock:
    """`seams.Clock` on the running virtual loop; wall time starts at a fixed moment."""

    def now(self) -> float:
        return 1_700_000_000.0 + self.monotonic()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class InlineThreads:
    """`seams.Threads` without a thread."""

    def __init__(self, name: str) -> None:
        del name

    async def run(self, work: Callable[[], T]) -> T:
        return work()

    def close(self) -> None:
        pass


class YieldingThreads(InlineThreads):
    """`seams.Threads` without a thread, but as with one, others go on meanwhile."""

    async def run(self, work: Callable[[], T]) -> T:
        await asyncio.sleep(0)
        return work()


class SlowThreads(InlineThreads):
    """`seams.Threads` that does one thing after another and takes its time for each."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._turn = asyncio.Lock()

    async def run(self, work: Callable[[], T]) -> T:
        async with self._turn:
            await asyncio.sleep(0.1)
            return work()


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
