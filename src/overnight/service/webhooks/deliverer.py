"""The deliverer: takes events out of the outbox until each is acknowledged or too old.

The outbox is filled in the transaction that ends a job. An attempt is recorded after it was made,
so that a crash in between makes it again: at least once, under the same id.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import structlog

from overnight.domain.errors import Unavailable
from overnight.domain.webhook import Attempt, Delivery, Webhook, retry_delay_seconds
from overnight.seams import Seams
from overnight.service.webhooks.courier import Courier, CourierOptions
from overnight.store import webhooks as rows
from overnight.store.database import Database

LOOK_SECONDS: Final = 0.5
AT_ONCE_MAX: Final = 256
AT_ONCE_PER_TENANT: Final = 16
AT_ONCE_PER_WEBHOOK: Final = 4
"""Receivers that hang must not keep others waiting, nor one tenant's those of another."""
FORGET_SECONDS: Final = 3_600.0
KEPT_SECONDS: Final = 30 * 24 * 3_600.0
"""How long it can be seen what became of an event."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DelivererOptions:
    """`give_up_seconds` counts from the event; `look_seconds` is how often it looks for more."""

    courier: CourierOptions = field(default_factory=CourierOptions)
    give_up_seconds: float = 72 * 3_600.0
    look_seconds: float = LOOK_SECONDS


class Deliverer:
    def __init__(self, database: Database, seams: Seams, options: DelivererOptions) -> None:
        self._database = database
        self._clock = seams.clock
        self._chance = seams.chance
        self._options = options
        self._courier = Courier(seams, options.courier)
        self._under_way: dict[str, Webhook] = {}
        """By the ids of deliveries."""
        self._forget_at = 0.0

    async def run(self) -> None:
        """Deliver for ever; cancel it to stop. What is then under way is tried again later."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    for webhook, delivery in await self._next():
                        self._under_way[delivery.id] = webhook
                        tasks.create_task(self._deliver(webhook, delivery))
                    await self._forget()
                except Unavailable as error:
                    _log.warning("can not look for events to deliver", reason=str(error))
                await asyncio.sleep(self._options.look_seconds)

    async def _next(self) -> list[tuple[Webhook, Delivery]]:
        """What is due and neither under way nor too much at once."""
        now, under_way = self._clock.now(), frozenset(self._under_way)
        due = await self._database.read(
            lambda tx: rows.due(tx, now, AT_ONCE_PER_WEBHOOK, under_way)
        )
        of_webhook = Counter(webhook.id for webhook in self._under_way.values())
        of_tenant = Counter(webhook.tenant for webhook in self._under_way.values())
        room = AT_ONCE_MAX - len(self._under_way)
        chosen: list[tuple[Webhook, Delivery]] = []
        for webhook, delivery in sorted(due, key=_due_since):
            is_free = (
                of_webhook[webhook.id] < AT_ONCE_PER_WEBHOOK
                and of_tenant[webhook.tenant] < AT_ONCE_PER_TENANT
            )
            if is_free and len(chosen) < room:
                of_webhook[webhook.id] += 1
                of_tenant[webhook.tenant] += 1
                chosen.append((webhook, delivery))
        return chosen

    async def _deliver(self, webhook: Webhook, delivery: Delivery) -> None:
        try:
            attempt = await self._courier.send(webhook, delivery.event)
            await self._record(webhook, delivery, attempt)
        finally:
            del self._under_way[delivery.id]

    async def _record(self, webhook: Webhook, delivery: Delivery, attempt: Attempt) -> None:
        now = self._clock.now()
        next_at = None if attempt.acknowledged else self._next_at(delivery, attempt, now)
        result = rows.AttemptResult(delivery.id, delivery.attempts, attempt, now, next_at)
        while True:
            try:
                await self._database.write(lambda tx: rows.record(tx, result))
                break
            except Unavailable as error:
                # Until it is written down it stays under way, or it would be sent again and again.
                _log.warning("can not record a delivery", delivery=delivery.id, reason=str(error))
                await asyncio.sleep(LOOK_SECONDS)
        _tell(webhook, delivery, result)

    def _next_at(self, delivery: Delivery, attempt: Attempt, now: float) -> float | None:
        """None when the event would then be too old."""
        delay = retry_delay_seconds(delivery.attempts + 1, self._chance.jitter())
        next_at = now + max(delay, attempt.retry_after_seconds)
        too_old = next_at > delivery.event.created_at + self._options.give_up_seconds
        return None if too_old else next_at

    async def _forget(self) -> None:
        if self._clock.monotonic() >= self._forget_at:
            before = self._clock.now() - KEPT_SECONDS
            old = await self._database.read(lambda tx: rows.forgettable(tx, before))
            if old:
                await self._database.write(lambda tx: rows.forget(tx, old))
            self._forget_at = self._clock.monotonic() + FORGET_SECONDS


def _due_since(one: tuple[Webhook, Delivery]) -> float:
    return one[1].next_at or 0.0


def _tell(webhook: Webhook, delivery: Delivery, result: rows.AttemptResult) -> None:
    attempt = result.attempt
    told = {
        "webhook": webhook.id,
        "delivery": delivery.id,
        "event_type": delivery.event.type.value,
        "job": delivery.event.job_id,
        "attempt": delivery.attempts + 1,
        "answer": attempt.error or attempt.status,
    }
    if attempt.acknowledged:
        _log.info("an event was delivered", **told)
    elif result.next_at is not None:
        wait = round(result.next_at - result.at, 1)
        _log.info("an event was not delivered; trying again", **told, again_in_seconds=wait)
    else:
        _log.warning("an event could not be delivered and is given up", **told)
