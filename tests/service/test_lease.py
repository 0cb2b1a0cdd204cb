"""The fence of a lease, in virtual time."""

import asyncio
from pathlib import Path

import pytest

from overnight.domain.errors import LeaseLost
from overnight.service.lease import Lease
from support.service_world import ServiceWorld, in_world


def test_a_renewal_that_comes_with_the_fence_changes_nothing(tmp_path: Path) -> None:
    """The fence has been reached, and whom it is to end has not run since."""

    async def test(world: ServiceWorld) -> None:
        lease = Lease("w", "worker", world.database, world.clock, 8.0)
        renewed = asyncio.Event()

        def renew_late() -> None:
            lease.renewed(world.clock.monotonic())
            renewed.set()

        async def hold() -> None:
            async with lease.held():
                asyncio.get_running_loop().call_later(lease.seconds_left, renew_late)
                await asyncio.sleep(60)

        with pytest.raises(LeaseLost, match="in time"):
            await hold()
        assert renewed.is_set()

    in_world(tmp_path, test)
