"""Webhooks of a server: an Overnight's, or one that has OpenAI's routes for them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final
from urllib.parse import quote

from overnight.client.failures import lacking
from overnight.client.openai import OpenAiDialect
from overnight.client.reading import Fields
from overnight.client.transport import Transport

_ENDPOINTS: Final = "/webhook_endpoints"


@dataclass(frozen=True, slots=True)
class WebhookView:
    """Times are unix seconds; None is what the server did not tell."""

    id: str
    name: str
    url: str
    event_types: tuple[str, ...]
    created_at: float | None
    updated_at: float | None = None
    signing_secret_hint: str | None = None
    """How the secret ends."""
    signing_secret: str | None = None
    """Told once: to who creates the webhook or rotates its secret."""


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """One event on its way to a webhook. Times are unix seconds."""

    id: str
    event_type: str | None
    batch_id: str | None
    status: str | None
    """`pending`, `delivered` or `given_up`."""
    attempts: int | None
    created_at: float | None
    last_attempt_at: float | None = None
    last_status_code: int | None = None
    last_error: str | None = None
    """Why there was no answer."""
    next_attempt_at: float | None = None
    delivered_at: float | None = None


class Webhooks:
    """Every method raises `ClientError`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, url: str, name: str, event_types: Sequence[str]) -> WebhookView:
        body = {"url": url, "name": name, "event_types": list(event_types)}
        return self._webhook(Fields(self._transport.post(_ENDPOINTS, json=body)))

    def get(self, webhook_id: str) -> WebhookView:
        return self._webhook(Fields(self._transport.get(_path(webhook_id))))

    def list(self, *, limit: int | None = None) -> Iterator[WebhookView]:
        """Newest first; pages are fetched as they are needed."""
        listed = OpenAiDialect().list(self._transport, _ENDPOINTS, limit)
        return map(self._webhook, islice(listed, limit))

    def delete(self, webhook_id: str) -> None:
        self._transport.delete(_path(webhook_id))

    def rotate(self, webhook_id: str, *, keep_old: bool) -> WebhookView:
        """With `keep_old` the old secret signs too, for 24 hours."""
        body = {"keep_old_secret_active_for_24_hours": keep_old}
        rotated = self._transport.post(_path(webhook_id, "rotate_secret"), json=body)
        return self._webhook(Fields(rotated))

    def test(self, webhook_id: str, event_type: str) -> int | None:
        """Have a sample sent; the status that was answered."""
        body = {"event_type": event_type}
        return Fields(self._transport.post(_path(webhook_id, "test"), json=body)).integer(
            "status_code"
        )

    def deliveries(self, webhook_id: str, *, limit: int | None = None) -> Iterator[DeliveryView]:
        """Newest first. Only Overnight tells of them."""
        path = _path(webhook_id, "deliveries")
        listed = OpenAiDialect().list(self._transport, path, limit)
        return map(_delivery, islice(listed, limit))

    def _webhook(self, fields: Fields) -> WebhookView:
        webhook_id = fields.word("id")
        if webhook_id is None:
            raise lacking("webhook", "id", self._transport.address)
        return WebhookView(
            id=webhook_id,
            name=fields.text("name") or "",
            url=fields.text("url") or "",
            event_types=tuple(fields.strings("event_types")),
            created_at=fields.time("created_at"),
            updated_at=fields.time("updated_at"),
            signing_secret_hint=fields.text("signing_secret_hint"),
            signing_secret=fields.text("signing_secret"),
        )


def _delivery(fields: Fields) -> DeliveryView:
    return DeliveryView(
        id=fields.text("id") or "",
        event_type=fields.text("event_type"),
        batch_id=fields.text("batch_id"),
        status=fields.text("status"),
        attempts=fields.integer("attempts"),
        created_at=fields.time("created_at"),
        last_attempt_at=fields.time("last_attempt_at"),
        last_status_code=fields.integer("last_status_code"),
        last_error=fields.text("last_error"),
        next_attempt_at=fields.time("next_attempt_at"),
        delivered_at=fields.time("delivered_at"),
    )


def _path(webhook_id: str, *more: str) -> str:
    return "/".join([_ENDPOINTS, quote(webhook_id, safe=""), *more])
