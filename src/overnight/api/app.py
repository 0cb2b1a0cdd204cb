"""The application on the port: both dialects, the storage links and the probes."""

from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from overnight.api.auth import Authentication
from overnight.api.codings import PlainBodies
from overnight.api.dialects import DialectPaths
from overnight.api.faults import HANDLERS, fault_reply
from overnight.api.methods import HeadAsGet
from overnight.api.openai import OpenAiRoutes
from overnight.api.part_uploads import OpenAiUploads, TogetherMultipart
from overnight.api.request_ids import RequestIds
from overnight.api.stopping import StoppingReplies
from overnight.api.together import TogetherRoutes
from overnight.api.uploads import Uploads
from overnight.api.webhook_endpoints import WebhookEndpoints
from overnight.domain.dialect import Dialect
from overnight.domain.errors import Unavailable
from overnight.seams import Chance
from overnight.service.files import Files
from overnight.service.health import Health
from overnight.service.jobs import Jobs
from overnight.service.keyring import Caller, Keyring
from overnight.service.part_uploads import PartUploads
from overnight.service.webhooks.endpoints import Webhooks


@dataclass(frozen=True, slots=True)
class Services:
    """The use cases the API offers, and the chance its request ids come from."""

    files: Files
    part_uploads: PartUploads
    jobs: Jobs
    webhooks: Webhooks
    health: Health
    keyring: Keyring
    chance: Chance


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """`public_url` is where clients reach us, if not where their `Host` header says.

    `dialect` is spoken with those of whom nothing tells theirs. `loopback_only`: while there is no
    key, only this machine is served.
    """

    public_url: str | None = None
    dialect: Dialect = Dialect.OPENAI
    loopback_only: bool = True


def create_app(services: Services, options: ApiOptions) -> ASGIApp:
    """The whole of it, ready for an ASGI server. A request goes through the layers outside in:
    it gets its id, is let in or not, gets its dialect's path, and is routed."""
    return RequestIds(StoppingReplies(HeadAsGet(routing(services, options))), services.chance)


def routing(services: Services, options: ApiOptions) -> Starlette:
    """Every route there is, behind the layers whose errors have to be answered too."""
    uploads = Uploads(services.files, options.public_url)
    files, jobs, parts = services.files, services.jobs, services.part_uploads
    multipart = TogetherMultipart(files, parts, options.public_url)
    openai = OpenAiRoutes(files, jobs, uploads, OpenAiUploads(files, parts)).application()
    together = TogetherRoutes(files, jobs, uploads, multipart).application()
    WebhookEndpoints(services.webhooks).add_to(openai)
    probes = Probes(services.health)
    root = Starlette(
        routes=[
            Route("/healthz", probes.healthz),
            Route("/readyz", probes.readyz),
            Route("/v3/whoami", whoami),
            Route("/storage/parts/{token}", multipart.put_part, methods=["PUT"]),
            Route("/storage/{token}", uploads.put, methods=["PUT"]),
            Mount("/openai/v1", openai),
            Mount("/together/v1", together),
        ],
        middleware=[
            Middleware(Authentication, services.keyring, loopback_only=options.loopback_only),
            Middleware(PlainBodies),
            Middleware(DialectPaths, options.dialect),
        ],
        exception_handlers=dict(HANDLERS),
    )
    root.router.redirect_slashes = False
    return root


class Probes:
    """What watches this service asks here, without a key."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def healthz(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(self, _: Request) -> Response:
        """503 with the names of what is missing."""
        missing = await self._health.missing()
        if missing:
            return fault_reply(Unavailable(f"Not ready; missing: {', '.join(missing)}."))
        return JSONResponse({"status": "ready"})


async def whoami(request: Request) -> Response:
    """Together's command line asks this before every command and stops without an answer."""
    caller: Caller = request.state.caller
    place = {"id": caller.tenant, "name": caller.tenant}
    return JSONResponse(
        {
            "type": "project_api_key",
            "api_key": {"id": caller.key_id, "name": caller.key_name},
            "organization": place,
            "project": {**place, "slug": caller.tenant},
        }
    )
