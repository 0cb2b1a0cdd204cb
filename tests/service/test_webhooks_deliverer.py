"""The outbox is emptied: at least once, in time, and nobody waits for anybody."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from overnight.domain.event import Event, EventType
from overnight.domain.job import JobStatus
from overnight.domain.webhook import Delivery, DeliveryStatus, Webhook
from overnight.seams import Connect
from overnight.service.webhooks.deliverer import (
    AT_ONCE_PER_TENANT,
    Deliverer,
    DelivererOptions,
)
from overnight.store import webhooks as rows
from overnight.store.database import Database
from overnight.store.paging import PageRequest
from support.dispatch_world import HOUR_SECONDS
from support.fake_network import Respond, Silence
from support.hook_network import Hook, HookNetwork
from support.service_world import ServiceWorld, in_world, running

PENDING, DELIVERED, GIVEN_UP = DeliveryStatus


class HookWorld:
    """A service with webhooks; receivers are in `hooks`, everything else as it was."""

    def __init__(self, world: ServiceWorld) -> None:
        self.world = world
        self.hooks = HookNetwork()
        engines = world.network.connect
        connect = _either(self.hooks, engines)
        world.seams = replace(world.seams, connect=connect, resolve=self.hooks.resolve)

    def deliverer(self, database: Database | None = None, **changes: Any) -> Deliverer:
        options = replace(DelivererOptions(), **changes)
        return Deliverer(database or self.world.connection(), self.world.seams, options)

    async def add(
        self, webhook_id: str = "we_a", host: str = "hook.example", tenant: str = "local"
    ) -> None:
        now = self.world.clock.now()
        webhook = Webhook(
            id=webhook_id,
            tenant=tenant,
            name="n",
            url=f"https://{host}/",
            event_types=tuple(EventType),
            secret=f"whsec_{'A' * 44}",
            created_at=now,
            updated_at=now,
        )
        await self.world.database.write(lambda tx: rows.add(tx, webhook))

    async def post(self, job_id: str = "batch_a", tenant: str = "local") -> Event:
        event = Event.of_end(job_id, JobStatus.COMPLETED, self.world.clock.now())
        await self.world.database.write(lambda tx: rows.post(tx, tenant, event))
        return event

    async def deliveries(self, webhook_id: str = "we_a") -> list[Delivery]:
        return await self.world.database.read(
            lambda tx: rows.deliveries(tx, webhook_id, "local", PageRequest())[0]
        )

    async def until(self, status: DeliveryStatus, count: int = 1, seconds: float = 60) -> None:
        """Look a hundred times in that time."""
        for _ in range(100):
            if [one.status for one in await self.deliveries()].count(status) >= count:
                return
            await asyncio.sleep(seconds / 100)
        raise AssertionError(f"not {count} {status.value} within {seconds:g} s")


def _either(hooks: HookNetwork, engines: Connect) -> Connect:
    async def connect(factory: Any, host: str, *more: Any) -> None:
        await (engines if host == "gpu" else hooks.connect)(factory, host, *more)

    return connect


@asynccontextmanager
async def delivering(deliverer: Deliverer) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.ensure_future(deliverer.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def in_hook_world(folder: Path, test: Callable[[HookWorld], Coroutine[Any, Any, None]]) -> None:
    in_world(folder, lambda world: test(HookWorld(world)))


def test_an_event_is_delivered_soon_and_once(tmp_path: Path) -> None:
    async def test(world: HookWorld) -> None:
        await world.add()
        async with delivering(world.deliverer()):
            await asyncio.sleep(10)
            event = await world.post()
            await world.until(DELIVERED, seconds=1)
            await asyncio.sleep(60)
        (hook,) = world.hooks.hooks
        assert hook.event["data"] == {"id": event.job_id}
        (delivery,) = await world.deliveries()
        assert (delivery.attempts, delivery.last_status) == (1, 200)

    in_hook_world(tmp_path, test)


def test_a_clerk_tells_of_the_job_it_ends(tmp_path: Path) -> None:
    async def test(world: HookWorld) -> None:
        await world.add()
        await world.world.configure()
        job_id = await world.world.submit(20)
        async with running(world.world.clerk("c")), running(world.world.worker("w")):
            await world.until(DELIVERED, seconds=60)
        assert [hook.event["data"]["id"] for hook in world.hooks.hooks] == [job_id]

    in_hook_world(tmp_path, test)


def test_a_receiver_that_is_down_is_tried_for_three_days_then_given_up(tmp_path: Path) -> None:
    async def test(world: HookWorld) -> None:
        world.hooks.answer = lambda _: Respond(503, b"")
        await world.add()
        event = await world.post()
        async with delivering(world.deliverer(look_seconds=60.0)):
            await world.until(GIVEN_UP, seconds=73 * HOUR_SECONDS)
            tries = len(world.hooks.hooks)
            await asyncio.sleep(24 * HOUR_SECONDS)
        assert len(world.hooks.hooks) == tries
        times = [hook.at for hook in world.hooks.hooks]
        waits = [later - sooner for sooner, later in pairwise(times)]
        assert times[0] < 1
        assert waits[0] <= 60
        assert all(sooner <= later + 60 for sooner, later in pairwise(waits))
        assert 3 * HOUR_SECONDS <= waits[-1] <= 4 * HOUR_SECONDS
        assert 68 * HOUR_SECONDS < times[-1] <= 72 * HOUR_SECONDS
        (delivery,) = await world.deliveries()
        assert (delivery.attempts, delivery.last_status) == (tries, 503)
        # The same message each time, signed anew.
        assert {hook.id for hook in world.hooks.hooks} == {event.delivery_id("we_a")}
        start = int(event.created_at)
        for hook in world.hooks.hooks:
            assert abs(int(hook.headers["webhook-timestamp"]) - start - hook.at) <= 1

    in_hook_world(tmp_path, test)


def test_a_receiver_that_comes_back_gets_it(tmp_path: Path) -> None:
    async def test(world: HookWorld) -> None:
        world.hooks.refusing = {"93.184.216.34"}
        await world.add()
        await world.post()
        async with delivering(world.deliverer(look_seconds=5.0)):
            await asyncio.sleep(HOUR_SECONDS)
            assert (await world.deliveries())[0].last_error == "refuses connections"
            world.hooks.refusing = set()
            await world.until(DELIVERED, seconds=2 * HOUR_SECONDS)
        (delivery,) = await world.deliveries()
        assert (delivery.last_error, len(world.hooks.hooks)) == (None, 1)
        assert delivery.attempts > 5

    in_hook_world(tmp_path, test)


def test_retry_after_is_waited_for(tmp_path: Path) -> None:
    async def test(world: HookWorld) -> None:
        answers = [Respond(429, b"", retry_after="1000"), Respond(204, b"")]
        world.hooks.answer = lambda _: answers.pop(0)
        await world.add()
        await world.post()
        async with delivering(world.deliverer()):
            await world.until(DELIVERED, seconds=1_100)
        first, second = world.hooks.hooks
        assert 1_000 <= second.at - first.at < 1_002

    in_hook_world(tmp_path, test)


def answer_if_not_slow(hook: Hook) -> Respond | Silence:
    return Silence() if hook.server_name == "slow.example" else Respond(200, b"")


def test_receivers_that_hang_keep_nobody_waiting(tmp_path: Path) -> None:
    """Neither other receivers nor the jobs."""

    async def test(world: HookWorld) -> None:
        world.hooks.answer = answer_if_not_slow
        await world.add("we_slow", "slow.example")
        await world.add()
        for number in range(100):
            await world.post(f"batch_{number}")
        await world.world.configure()
        start = world.world.clock.monotonic()
        job_id = await world.world.submit(20)
        async with running(world.world.clerk("c")), running(world.world.worker("w")):
            await world.world.until(job_id, JobStatus.COMPLETED, seconds=10)
            await world.until(DELIVERED, 101, seconds=30)
        assert world.world.clock.monotonic() - start < 40
        slow = [hook for hook in world.hooks.hooks if hook.address.endswith(".35")]
        # Four at a time, fifteen seconds each.
        assert 4 <= len(slow) <= 16

    in_hook_world(tmp_path, test)


def test_no_tenant_keeps_another_waiting(tmp_path: Path) -> None:
    async def test(world: HookWorld) -> None:
        world.hooks.answer = answer_if_not_slow
        for number in range(20):
            await world.add(f"we_{number}", "slow.example", "other")
        await world.add()
        for number in range(20):
            await world.post(f"batch_{number}", "other")
        async with delivering(world.deliverer()):
            await asyncio.sleep(5)
            assert len(world.hooks.hooks) == AT_ONCE_PER_TENANT
            await world.post()
            await world.until(DELIVERED, seconds=2)

    in_hook_world(tmp_path, test)


def test_what_can_not_be_recorded_is_not_sent_again_meanwhile(tmp_path: Path) -> None:
    async def test(world: HookWorld) -> None:
        database = world.world.connection()
        await world.add()
        async with delivering(world.deliverer(database)):
            await asyncio.sleep(1)
            database.writes_left = 0
            await world.post()
            await asyncio.sleep(60)
            assert len(world.hooks.hooks) == 1
            assert (await world.deliveries())[0].status is PENDING
            database.writes_left = None
            await world.until(DELIVERED, seconds=2)
        assert len(world.hooks.hooks) == 1

    in_hook_world(tmp_path, test)


def test_a_database_that_is_away_ends_nothing(tmp_path: Path) -> None:
    async def test(world: HookWorld) -> None:
        database = world.world.connection()
        await world.add()
        async with delivering(world.deliverer(database)) as task:
            database.down = True
            await world.post()
            await asyncio.sleep(60)
            assert not task.done()
            database.down = False
            await world.until(DELIVERED, seconds=2)

    in_hook_world(tmp_path, test)


@pytest.mark.parametrize("answered", [True, False])
def test_who_dies_in_between_leaves_it_to_the_next(tmp_path: Path, answered: bool) -> None:
    """Whether the receiver had answered by then or not: it is sent again, under the same id."""

    async def test(world: HookWorld) -> None:
        database = world.world.connection()
        world.hooks.answer = lambda _: Respond(200, b"") if answered else Silence()
        await world.add()
        async with delivering(world.deliverer(database)):
            await asyncio.sleep(1)
            database.writes_left = 0
            await world.post()
            await asyncio.sleep(5)
        world.hooks.answer = lambda _: Respond(200, b"")
        async with delivering(world.deliverer()):
            await world.until(DELIVERED, seconds=1)
        first, second = world.hooks.hooks
        assert first.id == second.id
        assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]

    in_hook_world(tmp_path, test)


def test_a_webhook_deleted_meanwhile_gets_nothing_more(tmp_path: Path) -> None:
    async def test(world: HookWorld) -> None:
        world.hooks.answer = lambda _: Respond(500, b"")
        await world.add()
        await world.post()
        async with delivering(world.deliverer()):
            await asyncio.sleep(2)
            now = world.world.clock.now()
            await world.world.database.write(lambda tx: rows.remove(tx, "we_a", now))
            await asyncio.sleep(60)
        assert len(world.hooks.hooks) == 1

    in_hook_world(tmp_path, test)


def test_deliveries_are_forgotten_after_a_month(tmp_path: Path) -> None:
    async def test(world: HookWorld) -> None:
        await world.add()
        await world.post("batch_old")
        async with delivering(world.deliverer(look_seconds=HOUR_SECONDS)):
            await asyncio.sleep(29 * 24 * HOUR_SECONDS)
            assert len(await world.deliveries()) == 1
            await asyncio.sleep(2 * 24 * HOUR_SECONDS)
            assert await world.deliveries() == []

    in_hook_world(tmp_path, test)
