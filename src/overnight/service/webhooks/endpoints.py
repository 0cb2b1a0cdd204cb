"""Webhooks: created, changed, tried out and looked at by their tenant."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection

from overnight.domain.errors import InvalidRequest
from overnight.domain.event import Event, EventType
from overnight.domain.webhook import SECRET_PREFIX, Attempt, Delivery, OldSecret, Webhook
from overnight.seams import Seams
from overnight.service.webhooks.courier import Courier
from overnight.store import webhooks as rows
from overnight.store.database import Database
from overnight.store.paging import PageRequest

OLD_SECRET_SECONDS: Final = 24 * 3_600.0
"""How long a replaced secret still signs, if that is wanted."""

_SECRET_DIGITS: Final = 64
"""Random hex digits of a secret: 256 bits."""
_NAME_CHARACTERS_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class WebhookChange:
    """A wish; None leaves as it is. A new one needs all three."""

    name: str | None = None
    url: str | None = None
    event_types: Sequence[str] | None = None


class Webhooks:
    """Every method raises `NotFound` for an id that is not the tenant's.

    `endpoints_max` is how many a tenant may have.
    """

    def __init__(
        self, database: Database, seams: Seams, courier: Courier, endpoints_max: int
    ) -> None:
        self._database = database
        self._clock = seams.clock
        self._chance = seams.chance
        self._courier = courier
        self._endpoints_max = endpoints_max

    async def create(self, tenant: str, wish: WebhookChange) -> Webhook:
        """Raises `InvalidRequest`."""
        now = self._clock.now()
        blank = Webhook(
            id=f"we_{self._chance.token(24)}",
            tenant=tenant,
            name="",
            url="",
            event_types=(),
            secret=self._new_secret(),
            created_at=now,
            updated_at=now,
        )
        webhook = self._changed(blank, wish)

        def create(tx: Connection) -> None:
            if rows.count(tx, tenant) >= self._endpoints_max:
                raise InvalidRequest(
                    f"There are {self._endpoints_max} webhook endpoints already, the most there "
                    "may be (webhooks.endpoints_max); delete one first.",
                    code="limit_exceeded",
                )
            rows.add(tx, webhook)

        await self._database.write(create)
        return webhook

    async def get(self, webhook_id: str, tenant: str) -> Webhook:
        return await self._database.read(lambda tx: rows.get(tx, webhook_id, tenant))

    async def page(self, tenant: str, page: PageRequest) -> tuple[list[Webhook], bool]:
        """Newest first; the flag says whether more follow. Raises `InvalidRequest` on `after`."""
        return await self._database.read(lambda tx: rows.page(tx, tenant, page))

    async def update(self, webhook_id: str, tenant: str, wish: WebhookChange) -> Webhook:
        """Raises `InvalidRequest`. What is under way goes where it went before."""
        now = self._clock.now()

        def update(tx: Connection) -> Webhook:
            webhook = rows.get(tx, webhook_id, tenant)
            changed = self._changed(webhook, wish)
            if changed != webhook:
                changed = replace(changed, updated_at=now)
                rows.save(tx, changed)
            return changed

        return await self._database.write(update)

    async def delete(self, webhook_id: str, tenant: str) -> None:
        """Nothing is sent to it any more, also not what waits to be."""
        now = self._clock.now()

        def delete(tx: Connection) -> None:
            rows.remove(tx, rows.get(tx, webhook_id, tenant).id, now)

        await self._database.write(delete)

    async def rotate(self, webhook_id: str, tenant: str, *, keep_old: bool) -> Webhook:
        """A new secret. With `keep_old` those before it sign as well for another 24 hours.

        Several, for a repeated request must not lose the one that receivers know.
        """
        now, secret = self._clock.now(), self._new_secret()

        def rotate(tx: Connection) -> Webhook:
            webhook = rows.get(tx, webhook_id, tenant)
            last = OldSecret(webhook.secret, now + OLD_SECRET_SECONDS)
            valid = [old for old in webhook.old_secrets if old.until > now]
            old_secrets = (last, *valid) if keep_old else ()
            rotated = replace(webhook, secret=secret, old_secrets=old_secrets, updated_at=now)
            rows.save(tx, rotated)
            return rotated

        return await self._database.write(rotate)

    async def test(self, webhook_id: str, tenant: str, event_type: str) -> Attempt:
        """Send a sample at once, and once; it is not in the list of deliveries.

        Raises `InvalidRequest` when there was no answer.
        """
        (kind,) = _checked_types([event_type], "event_type")
        webhook = await self.get(webhook_id, tenant)
        sample = Event(
            f"evt_test{self._chance.token(16)}", kind, f"batch_{'0' * 24}", self._clock.now()
        )
        attempt = await self._courier.send(webhook, sample)
        if attempt.error is not None:
            raise InvalidRequest(
                f"No answer from {webhook.url}: it {attempt.error}.",
                param="webhook_endpoint_id",
                code="no_answer",
            )
        return attempt

    async def deliveries(
        self, webhook_id: str, tenant: str, page: PageRequest
    ) -> tuple[list[Delivery], bool]:
        """Of the last 30 days, newest first; as `page`."""

        def look(tx: Connection) -> tuple[list[Delivery], bool]:
            rows.get(tx, webhook_id, tenant)
            return rows.deliveries(tx, webhook_id, tenant, page)

        return await self._database.read(look)

    def _new_secret(self) -> str:
        random = bytes.fromhex(self._chance.token(_SECRET_DIGITS))
        return SECRET_PREFIX + base64.b64encode(random).decode()

    def _changed(self, webhook: Webhook, wish: WebhookChange) -> Webhook:
        if wish.name is not None:
            webhook = replace(webhook, name=_checked_name(wish.name))
        if wish.url is not None:
            self._courier.check(wish.url)
            webhook = replace(webhook, url=wish.url)
        if wish.event_types is not None:
            types = _checked_types(wish.event_types, "event_types")
            webhook = replace(webhook, event_types=types)
        return webhook


def _checked_name(name: str) -> str:
    if not name.strip() or len(name) > _NAME_CHARACTERS_MAX:
        raise InvalidRequest(
            f"The name should have 1 to {_NAME_CHARACTERS_MAX} characters, not {len(name)}.",
            param="name",
        )
    return name


def _checked_types(names: Sequence[str], param: str) -> tuple[EventType, ...]:
    """Without repetitions, in the order of the type."""
    known = ", ".join(EventType)
    for name in names:
        if name not in tuple(EventType):
            raise InvalidRequest(
                f"'{name[:80]}' is no event of this server's; there are {known}.", param=param
            )
    if not names:
        raise InvalidRequest(f"Name at least one event; there are {known}.", param=param)
    return tuple(kind for kind in EventType if kind in names)
