"""Webhooks as the OpenAI API spells them, and deliveries, which it does not have. Pure."""

from collections.abc import Sequence
from typing import Literal

from typing_extensions import TypedDict

from overnight.domain.event import EventType
from overnight.domain.webhook import Attempt, Delivery, Webhook


class WebhookEndpoint(TypedDict):
    id: str
    object: Literal["webhook_endpoint"]
    name: str
    url: str
    event_types: list[str]
    signing_secret_hint: str
    created_at: int
    updated_at: int


class WebhookEndpointWithSecret(WebhookEndpoint):
    signing_secret: str


class WebhookEndpointList(TypedDict):
    object: Literal["list"]
    data: list[WebhookEndpoint]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedWebhookEndpoint(TypedDict):
    id: str
    object: Literal["webhook_endpoint.deleted"]
    deleted: Literal[True]


class WebhookTestResult(TypedDict):
    object: Literal["webhook_endpoint.test"]
    webhook_endpoint_id: str
    event_type: str
    status_code: int | None
    success: Literal[True]


class WebhookEventTypes(TypedDict):
    object: Literal["list"]
    data: list[str]


class WebhookDelivery(TypedDict):
    id: str
    object: Literal["webhook_delivery"]
    webhook_endpoint_id: str
    event_id: str
    event_type: str
    batch_id: str
    created_at: int
    status: str
    attempts: int
    last_attempt_at: int | None
    last_status_code: int | None
    last_error: str | None
    next_attempt_at: int | None
    delivered_at: int | None


class WebhookDeliveryList(TypedDict):
    object: Literal["list"]
    data: list[WebhookDelivery]
    first_id: str | None
    last_id: str | None
    has_more: bool


def endpoint(webhook: Webhook) -> WebhookEndpoint:
    return {
        "id": webhook.id,
        "object": "webhook_endpoint",
        "name": webhook.name,
        "url": webhook.url,
        "event_types": [kind.value for kind in webhook.event_types],
        "signing_secret_hint": webhook.secret_hint,
        "created_at": int(webhook.created_at),
        "updated_at": int(webhook.updated_at),
    }


def endpoint_with_secret(webhook: Webhook) -> WebhookEndpointWithSecret:
    """For the answers to who made it or rotated it; nobody sees the secret again."""
    return {**endpoint(webhook), "signing_secret": webhook.secret}


def endpoint_list(webhooks: Sequence[Webhook], has_more: bool) -> WebhookEndpointList:
    return {
        "object": "list",
        "data": [endpoint(webhook) for webhook in webhooks],
        "first_id": webhooks[0].id if webhooks else None,
        "last_id": webhooks[-1].id if webhooks else None,
        "has_more": has_more,
    }


def deleted_endpoint(webhook_id: str) -> DeletedWebhookEndpoint:
    return {"id": webhook_id, "object": "webhook_endpoint.deleted", "deleted": True}


def test_result(webhook_id: str, event_type: str, attempt: Attempt) -> WebhookTestResult:
    """`success` says that there was an answer, whatever its status."""
    return {
        "object": "webhook_endpoint.test",
        "webhook_endpoint_id": webhook_id,
        "event_type": event_type,
        "status_code": attempt.status,
        "success": True,
    }


def event_types() -> WebhookEventTypes:
    return {"object": "list", "data": [kind.value for kind in EventType]}


def delivery(one: Delivery) -> WebhookDelivery:
    return {
        "id": one.id,
        "object": "webhook_delivery",
        "webhook_endpoint_id": one.webhook_id,
        "event_id": one.event.id,
        "event_type": one.event.type.value,
        "batch_id": one.event.job_id,
        "created_at": int(one.event.created_at),
        "status": one.status.value,
        "attempts": one.attempts,
        "last_attempt_at": _seconds(one.last_at),
        "last_status_code": one.last_status,
        "last_error": one.last_error,
        "next_attempt_at": _seconds(one.next_at),
        "delivered_at": _seconds(one.delivered_at),
    }


def delivery_list(deliveries: Sequence[Delivery], has_more: bool) -> WebhookDeliveryList:
    return {
        "object": "list",
        "data": [delivery(one) for one in deliveries],
        "first_id": deliveries[0].id if deliveries else None,
        "last_id": deliveries[-1].id if deliveries else None,
        "has_more": has_more,
    }


def _seconds(at: float | None) -> int | None:
    return None if at is None else int(at)
