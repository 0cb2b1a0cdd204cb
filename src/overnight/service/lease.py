"""A process's lease, and the fence that ends its work the moment the lease may have lapsed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog
from sqlalchemy import Connection

from overnight.domain.errors import LeaseLost, Unavailable
from overnight.seams import Clock
from overnight.store import workers
from overnight.store.database import Database

MARGIN_SECONDS_MAX: Final = 2.0
"""How long before the others may declare us dead we stop by ourselves."""
RENEWALS_PER_LEASE: Final = 3
AGAIN_SECONDS: Final = 0.5

_log = structlog.get_logger()


class Lease:
    """The lease of one incarnation; `identity` must never have been used before."""

    def __init__(
        self, identity: str, role: str, database: Database, clock: Clock, seconds: float
    ) -> None:
        self._id = identity
        self._role = role
        self._database = database
        self._clock = clock
        self._seconds = seconds
        # A short lease must still leave room for a late renewal before the fence.
        self._margin_seconds = min(MARGIN_SECONDS_MAX, seconds / 4)
        self._renew_at = 0.0
        self._fence_at = 0.0
        self._fence: asyncio.Timeout | None = None

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Register; inside, whatever is awaited ends with `LeaseLost` when the fence is reached."""
        asked, now = self._clock.monotonic(), self._clock.now()
        await self._database.write(
            lambda tx: workers.register(tx, self._id, self._role, now, now + self._seconds)
        )
        fence = self._fence = asyncio.timeout(None)
        try:
            async with fence:
                self.renewed(asked)
                yield
        except TimeoutError:
            if fence.expired():
                raise LeaseLost("the lease could not be renewed in time") from None
            raise

    @property
    def seconds_left(self) -> float:
        """Until the fence."""
        return self._fence_at - self._clock.monotonic()

    def is_due(self, now: float) -> bool:
        """Is it time for a renewal at `now` (monotonic)?"""
        return now >= self._renew_at

    def renew(self, tx: Connection) -> None:
        """Raises `LeaseLost` when this process was declared dead."""
        if not workers.renew(tx, self._id, self._clock.now() + self._seconds):
            raise LeaseLost(f"this {self._role} was declared dead")

    def renewed(self, asked: float) -> None:
        """A renewal asked for at `asked` (monotonic) was committed: move the fence."""
        self._renew_at = asked + self._seconds / RENEWALS_PER_LEASE
        self._fence_at = asked + self._seconds - self._margin_seconds
        # A renewal that was under way when the fence was reached comes too late for us.
        if self._fence is not None and not self._fence.expired():
            self._fence.reschedule(asyncio.get_running_loop().time() + self.seconds_left)

    async def keep(self) -> None:
        """Renew in time for ever, for a process whose own work may take longer than that."""
        while True:
            asked = self._clock.monotonic()
            await asyncio.sleep(max(0.0, self._renew_at - asked))
            asked = self._clock.monotonic()
            try:
                await self._database.write(self.renew)
            except Unavailable as error:
                _log.warning("the lease can not be renewed; trying again", reason=str(error))
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                self.renewed(asked)
