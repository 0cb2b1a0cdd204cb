"""Webhooks and the outbox: one row for each event and each webhook that wants it."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import (
    Connection,
    Row,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from overnight.domain.errors import NotFound
from overnight.domain.event import Event, EventType
from overnight.domain.webhook import Attempt, Delivery, OldSecret, Webhook
from overnight.store.paging import PageRequest, page_rows
from overnight.store.tables import is_kept_webhook, is_pending, webhook_deliveries, webhooks

_FORGOTTEN_AT_ONCE: Final = 1_000

_old_secrets: Final = msgspec.json.Decoder(tuple[OldSecret, ...])
_event_types: Final = msgspec.json.Decoder(tuple[EventType, ...])


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """`attempts` were made before this one. `next_at` None: there will be no other."""

    delivery_id: str
    attempts: int
    attempt: Attempt
    at: float
    next_at: float | None


# Webhooks


def add(tx: Connection, webhook: Webhook) -> None:
    tx.execute(
        insert(webhooks).values(
            id=webhook.id,
            tenant=webhook.tenant,
            created_at=webhook.created_at,
            **_values(webhook),
        )
    )


def save(tx: Connection, webhook: Webhook) -> None:
    """Overwrite all that can change of it."""
    tx.execute(update(webhooks).where(webhooks.c.id == webhook.id).values(**_values(webhook)))


def get(tx: Connection, webhook_id: str, tenant: str) -> Webhook:
    """Raises `NotFound`, also when it is somebody else's or was deleted."""
    row = tx.execute(
        select(webhooks).where(webhooks.c.id == webhook_id, is_kept_webhook)
    ).one_or_none()
    if row is None or row.tenant != tenant:
        raise NotFound(
            f"No webhook endpoint found with id '{webhook_id[:80]}'.", param="webhook_endpoint_id"
        )
    return _to_webhook(row)


def page(tx: Connection, tenant: str, page: PageRequest) -> tuple[list[Webhook], bool]:
    """As `page_rows`."""
    rows, more = page_rows(tx, webhooks, tenant, is_kept_webhook, page)
    return [_to_webhook(row) for row in rows], more


def count(tx: Connection, tenant: str) -> int:
    query = select(func.count()).where(webhooks.c.tenant == tenant, is_kept_webhook)
    return tx.scalar(query) or 0


def remove(tx: Connection, webhook_id: str, now: float) -> None:
    """Its deliveries go too. Its row stays, without secrets, so that lists go on after it."""
    tx.execute(delete(webhook_deliveries).where(webhook_deliveries.c.webhook_id == webhook_id))
    tx.execute(
        update(webhooks)
        .where(webhooks.c.id == webhook_id)
        .values(secret="", old_secrets="[]", deleted_at=now)
    )


# The outbox


def post(tx: Connection, tenant: str, event: Event) -> None:
    """Put `event` into the outbox for every webhook of `tenant` that wants it."""
    rows = tx.execute(_OF_TENANT, {"tenant": tenant})
    wanting = [row.id for row in rows if event.type in _event_types.decode(row.event_types)]
    if wanting:
        tx.execute(
            insert(webhook_deliveries),
            [
                {
                    "id": event.delivery_id(webhook_id),
                    "webhook_id": webhook_id,
                    "tenant": tenant,
                    "event_id": event.id,
                    "event_type": event.type.value,
                    "job_id": event.job_id,
                    "created_at": event.created_at,
                    "attempts": 0,
                    "next_at": event.created_at,
                }
                for webhook_id in wanting
            ],
        )


def due(
    tx: Connection, now: float, per_webhook: int, under_way: Set[str]
) -> list[tuple[Webhook, Delivery]]:
    """At most `per_webhook` of each webhook, the longest due first, without those `under_way`."""
    is_due = and_(is_pending, webhook_deliveries.c.next_at <= now)
    of_webhook = webhook_deliveries.c.webhook_id == webhooks.c.id
    waiting = tx.execute(select(webhooks).where(exists().where(of_webhook, is_due)))
    found = []
    for row in waiting.all():
        deliveries = tx.execute(
            select(webhook_deliveries)
            .where(
                webhook_deliveries.c.webhook_id == row.id,
                is_due,
                webhook_deliveries.c.id.not_in(under_way),
            )
            .order_by(webhook_deliveries.c.next_at)
            .limit(per_webhook)
        )
        webhook = _to_webhook(row)
        found += [(webhook, _to_delivery(delivery)) for delivery in deliveries]
    return found


def record(tx: Connection, result: AttemptResult) -> bool:
    """False: nothing was written, for its webhook is gone or another clerk was faster."""
    attempt = result.attempt
    return bool(
        tx.execute(
            update(webhook_deliveries)
            .where(
                webhook_deliveries.c.id == result.delivery_id,
                webhook_deliveries.c.attempts == result.attempts,
            )
            .values(
                attempts=result.attempts + 1,
                next_at=result.next_at,
                last_at=result.at,
                last_status=attempt.status,
                last_error=attempt.error,
                delivered_at=result.at if attempt.acknowledged else None,
            )
        ).rowcount
    )


def deliveries(
    tx: Connection, webhook_id: str, tenant: str, page: PageRequest
) -> tuple[list[Delivery], bool]:
    """Of one webhook, pending or not; as `page_rows`."""
    of_webhook = webhook_deliveries.c.webhook_id == webhook_id
    rows, more = page_rows(tx, webhook_deliveries, tenant, of_webhook, page)
    return [_to_delivery(row) for row in rows], more


def forgettable(tx: Connection, before: float) -> list[str]:
    """Some deliveries of events before that time, none of which is still tried."""
    query = select(webhook_deliveries.c.id).where(
        webhook_deliveries.c.created_at < before, ~is_pending
    )
    return list(tx.scalars(query.limit(_FORGOTTEN_AT_ONCE)))


def forget(tx: Connection, delivery_ids: Sequence[str]) -> None:
    tx.execute(delete(webhook_deliveries).where(webhook_deliveries.c.id.in_(delivery_ids)))


def _values(webhook: Webhook) -> dict[str, Any]:
    return {
        "name": webhook.name,
        "url": webhook.url,
        "event_types": msgspec.json.encode(webhook.event_types).decode(),
        "secret": webhook.secret,
        "old_secrets": msgspec.json.encode(webhook.old_secrets).decode(),
        "updated_at": webhook.updated_at,
    }


def _to_webhook(row: Row[Any]) -> Webhook:
    return Webhook(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        url=row.url,
        event_types=_event_types.decode(row.event_types),
        secret=row.secret,
        created_at=row.created_at,
        updated_at=row.updated_at,
        old_secrets=_old_secrets.decode(row.old_secrets),
    )


def _to_delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        webhook_id=row.webhook_id,
        event=Event(row.event_id, EventType(row.event_type), row.job_id, row.created_at),
        attempts=row.attempts,
        next_at=row.next_at,
        last_at=row.last_at,
        last_status=row.last_status,
        last_error=row.last_error,
        delivered_at=row.delivered_at,
    )


_OF_TENANT: Final = select(webhooks).where(
    webhooks.c.tenant == bindparam("tenant"), is_kept_webhook
)
"""Made once, for each job asks it: to build a statement takes longer than to execute it."""
