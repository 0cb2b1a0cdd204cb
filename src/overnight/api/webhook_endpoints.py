"""The routes of webhooks, which only the OpenAI dialect has.

Where to, what and how often is told by `GET …/deliveries`, an addition of ours.
"""

from typing import Annotated

from fastapi import FastAPI, Query, Request
from starlette.responses import JSONResponse, Response

from overnight.api import webhook_shapes as shapes
from overnight.api.bodies import Body, documented, read_json
from overnight.api.openapi import answers
from overnight.service.webhooks.endpoints import WebhookChange, Webhooks
from overnight.store.paging import PageRequest

After = str | None
Limit = Annotated[int, Query(ge=1, le=100)]


class CreateWebhook(Body):
    name: str
    url: str
    event_types: list[str]


class UpdateWebhook(Body):
    name: str | None = None
    url: str | None = None
    event_types: list[str] | None = None


class RotateSecret(Body):
    keep_old_secret_active_for_24_hours: bool = False


class TestWebhook(Body):
    event_type: str


class WebhookEndpoints:
    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    def add_to(self, app: FastAPI) -> None:
        get, post, delete = app.get, app.post, app.delete
        one = "/webhook_endpoints/{webhook_endpoint_id}"
        with_secret = answers(shapes.WebhookEndpointWithSecret)
        post(
            "/webhook_endpoints",
            responses=with_secret,
            openapi_extra=documented(CreateWebhook),
        )(self.create_webhook)
        get("/webhook_endpoints", responses=answers(shapes.WebhookEndpointList))(self.list_webhooks)
        get(one, responses=answers(shapes.WebhookEndpoint))(self.get_webhook)
        post(
            one,
            responses=answers(shapes.WebhookEndpoint),
            openapi_extra=documented(UpdateWebhook),
        )(self.update_webhook)
        delete(one, responses=answers(shapes.DeletedWebhookEndpoint))(self.delete_webhook)
        post(
            f"{one}/rotate_secret",
            responses=with_secret,
            openapi_extra=documented(RotateSecret),
        )(self.rotate_secret)
        post(
            f"{one}/test",
            responses=answers(shapes.WebhookTestResult),
            openapi_extra=documented(TestWebhook),
        )(self.test_webhook)
        get(f"{one}/deliveries", responses=answers(shapes.WebhookDeliveryList))(
            self.list_deliveries
        )
        get("/webhook_event_types", responses=answers(shapes.WebhookEventTypes))(
            self.list_event_types
        )

    async def create_webhook(self, request: Request) -> Response:
        """Be told of events at a URL; the answer alone shows the secret that signs them."""
        body = await read_json(request, CreateWebhook)
        wish = WebhookChange(body.name, body.url, body.event_types)
        webhook = await self._webhooks.create(request.state.tenant, wish)
        return JSONResponse(shapes.endpoint_with_secret(webhook))

    async def list_webhooks(
        self, request: Request, after: After = None, limit: Limit = 20
    ) -> Response:
        """Endpoints in pages, newest first; `after` is the last one of the page before."""
        page = PageRequest(after, limit)
        webhooks, has_more = await self._webhooks.page(request.state.tenant, page)
        return JSONResponse(shapes.endpoint_list(webhooks, has_more))

    async def get_webhook(self, request: Request, webhook_endpoint_id: str) -> Response:
        """Where it sends what; its secret is not shown again."""
        webhook = await self._webhooks.get(webhook_endpoint_id, request.state.tenant)
        return JSONResponse(shapes.endpoint(webhook))

    async def update_webhook(self, request: Request, webhook_endpoint_id: str) -> Response:
        """Change its name, its URL or the events it gets; what is absent stays."""
        body = await read_json(request, UpdateWebhook)
        wish = WebhookChange(body.name, body.url, body.event_types)
        tenant = request.state.tenant
        webhook = await self._webhooks.update(webhook_endpoint_id, tenant, wish)
        return JSONResponse(shapes.endpoint(webhook))

    async def delete_webhook(self, request: Request, webhook_endpoint_id: str) -> Response:
        """What still waits to be delivered goes with it."""
        await self._webhooks.delete(webhook_endpoint_id, request.state.tenant)
        return JSONResponse(shapes.deleted_endpoint(webhook_endpoint_id))

    async def rotate_secret(self, request: Request, webhook_endpoint_id: str) -> Response:
        """Another secret; unless it is kept, the old one signs nothing from now on."""
        body = await read_json(request, RotateSecret)
        webhook = await self._webhooks.rotate(
            webhook_endpoint_id,
            request.state.tenant,
            keep_old=body.keep_old_secret_active_for_24_hours,
        )
        return JSONResponse(shapes.endpoint_with_secret(webhook))

    async def test_webhook(self, request: Request, webhook_endpoint_id: str) -> Response:
        """Send a sample event, once, and tell what was answered."""
        body = await read_json(request, TestWebhook)
        tenant = request.state.tenant
        attempt = await self._webhooks.test(webhook_endpoint_id, tenant, body.event_type)
        return JSONResponse(shapes.test_result(webhook_endpoint_id, body.event_type, attempt))

    async def list_deliveries(
        self,
        request: Request,
        webhook_endpoint_id: str,
        after: After = None,
        limit: Limit = 20,
    ) -> Response:
        """What became of each event of the last 30 days."""
        deliveries, has_more = await self._webhooks.deliveries(
            webhook_endpoint_id, request.state.tenant, PageRequest(after, limit)
        )
        return JSONResponse(shapes.delivery_list(deliveries, has_more))

    async def list_event_types(self) -> Response:
        """What an endpoint can be told of."""
        return JSONResponse(shapes.event_types())
