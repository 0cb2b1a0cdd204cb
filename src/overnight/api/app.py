"""The application on the port: both dialects, the storage links and the probes."""

from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from overnight.api.auth import Authentication
from overnight.api.dialects import DialectPaths
from overnight.api.faults import HANDLERS, fault_reply
from overnight.api.openai import OpenAiRoutes
from overnight.api.request_ids import RequestIds
from overnight.api.together import TogetherRoutes
from overnight.api.uploads import Uploads
from overnight.domain.dialect import Dialect
from overnight.domain.errors import Unavailable
from overnight.seams import Chance
from overnight.service.files import Files
from overnight.service.health import Health
from overnight.service.jobs import Jobs
from overnight.service.keyring import Caller, Keyring


@dataclass(frozen=True, slots=True)
class Services:
    """The use cases the API offers, and the chance its request ids come from."""

    files: Files
    jobs: Jobs
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
    paths = DialectPaths(routing(services, options), options.dialect)
    inner = Authentication(paths, services.keyring, loopback_only=options.loopback_only)
    return RequestIds(inner, services.chance)


def routing(services: Services, options: ApiOptions) -> Starlette:
    """Every route there is, for requests that the layers have let through."""
    uploads = Uploads(services.files, options.public_url)
    openai = OpenAiRoutes(services.files, services.jobs, uploads).application()
    together = TogetherRoutes(services.files, services.jobs, uploads).application()
    probes = Probes(services.health)
    root = Starlette(
        routes=[
            Route("/healthz", probes.healthz),
            Route("/readyz", probes.readyz),
            Route("/v3/whoami", whoami),
            Route("/storage/{token}", uploads.put, methods=["PUT"]),
            Mount("/openai/v1", openai),
            Mount("/together/v1", together),
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
