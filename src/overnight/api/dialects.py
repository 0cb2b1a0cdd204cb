"""Which dialect a request speaks, and under which one path each route really lies.

All clients share `/v1/…`. A path prefix (`/together/…`, `/openai/…`) or the header
`x-overnight-dialect` says it outright. The official SDKs are told by their `User-Agent`, or by what
only theirs send. For everybody else the key decides, or else the configuration.

SDKs differ on whether the base URL ends in `/v1`, so that `/v1/v1/…` and `/files…`, `/batches…`
arrive as well and mean the same. Azure's classes begin every path with `/openai`, old ones with
`/openai/deployments/NAME`.
"""

import re
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from overnight.api.faults import fault_reply
from overnight.domain.dialect import Dialect
from overnight.domain.errors import InvalidRequest
from overnight.service.keyring import Caller

DIALECT_HEADER: Final = "x-overnight-dialect"

_TOGETHER_AGENT: Final = re.compile(r"(Async)?Together/")
_OPENAI_AGENT: Final = re.compile(r"((Async)?(Azure)?OpenAI|_ModuleClient)/")
_API_PATH: Final = re.compile(
    r"(?:/(?P<dialect>together|openai)(?:/deployments/[^/]+)?)?"
    r"(?P<version>(?:/v1){0,2})(?P<rest>/.*)?"
)
_BARE: Final = re.compile(r"/(files|batches|uploads|webhook_endpoints)(/.*)?|/webhook_event_types")
_TOGETHER_ONLY: Final = re.compile(r"/files/(upload|multipart/\w+|[^/]+/preprocess)")
_OPENAI_ONLY: Final = re.compile(r"/(uploads|webhook_endpoints)(/.*)?|/webhook_event_types")


def api_path(path: str, headers: Headers, unsaid: Dialect = Dialect.OPENAI) -> str | None:
    """The path under `/openai/v1` or `/together/v1`; None when it is not one of the API's.

    `unsaid` is spoken where the request does not say. Raises `InvalidRequest` when the header
    names no dialect.
    """
    match = _API_PATH.fullmatch(path)
    if match is None:
        return None
    rest = (match["rest"] or "").rstrip("/")
    if not (match["dialect"] or match["version"] or _BARE.fullmatch(rest)):
        return None
    dialect = Dialect(match["dialect"]) if match["dialect"] else _spoken(rest, headers) or unsaid
    return f"/{dialect.value}/v1{rest}"


def _spoken(rest: str, headers: Headers) -> Dialect | None:
    """What the request itself says; a header that is there for it before all signs."""
    named = headers.get(DIALECT_HEADER)
    if named is not None:
        if named.lower() not in tuple(Dialect):
            raise InvalidRequest(
                f"The header {DIALECT_HEADER} is 'openai' or 'together', not '{named[:80]}'.",
                param=DIALECT_HEADER,
            )
        return Dialect(named.lower())
    agent = headers.get("user-agent", "")
    if (
        _TOGETHER_AGENT.match(agent)
        or "x-together-client-user-agent" in headers
        or _TOGETHER_ONLY.fullmatch(rest)
        or _announces_file(rest, headers)
    ):
        return Dialect.TOGETHER
    if _OPENAI_AGENT.match(agent) or _OPENAI_ONLY.fullmatch(rest):
        return Dialect.OPENAI
    return None


def _announces_file(rest: str, headers: Headers) -> bool:
    """Only Together's clients name a file in a form of this kind before they send it."""
    kind = headers.get("content-type", "")
    return rest == "/files" and kind.startswith("application/x-www-form-urlencoded")


class DialectPaths:
    """ASGI layer: rewrites each path of the API to the dialect's own.

    It comes after `Authentication`, for a key may say what its user speaks; `unsaid` is for those
    whose key does not.
    """

    def __init__(self, app: ASGIApp, unsaid: Dialect) -> None:
        self._app = app
        self._unsaid = unsaid

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller: Caller | None = scope["state"].get("caller")
        unsaid = (caller and caller.dialect) or self._unsaid
        try:
            path = api_path(scope["path"], Headers(scope=scope), unsaid)
        except InvalidRequest as error:
            await fault_reply(error)(scope, receive, send)
            return
        if path is not None:
            scope["state"]["asked_path"] = scope["path"]
            scope["path"] = path
            scope["raw_path"] = path.encode()
        await self._app(scope, receive, send)
