"""An event loop whose clock jumps: waiting costs nothing and happens in a fixed order."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

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
