"""Which dialect a request speaks, and under which one path each route really lies.

All clients share `/v1/…`. Together's are told by their `User-Agent` (or the header only its
1.x sends); everything else is taken for OpenAI's. A path prefix (`/together/…`, `/openai/…`)
or the header `x-overnight-dialect` says it outright. SDKs differ on whether the base URL ends
in `/v1`, so that `/v1/v1/…` and `/files…`, `/batches…` arrive as well and mean the same.
"""

import re
from enum import StrEnum
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from overnight.api.faults import fault_reply
from overnight.domain.errors import InvalidRequest

DIALECT_HEADER: Final = "x-overnight-dialect"

_TOGETHER_AGENT: Final = re.compile(r"(Async)?Together/")
_API_PATH: Final = re.compile(
    r"(?:/(?P<dialect>together|openai))?(?P<version>(?:/v1){0,2})(?P<rest>/.*)?"
)
_BARE: Final = re.compile(r"/(files|batches|uploads)(/.*)?")
_TOGETHER_ONLY: Final = re.compile(r"/files/(upload|multipart/\w+|[^/]+/preprocess)")


class Dialect(StrEnum):
    """How an API is spelt; the values are the path prefixes."""

    OPENAI = "openai"
    TOGETHER = "together"


def api_path(path: str, headers: Headers) -> str | None:
    """The path under `/openai/v1` or `/together/v1`; None when it is not one of the API's.

    Raises `InvalidRequest` when the header names no dialect.
    """
    match = _API_PATH.fullmatch(path)
    if match is None:
        return None
    rest = (match["rest"] or "").rstrip("/")
    if not (match["dialect"] or match["version"] or _BARE.fullmatch(rest)):
        return None
    dialect = Dialect(match["dialect"]) if match["dialect"] else _spoken(rest, headers)
    return f"/{dialect.value}/v1{rest}"


def _spoken(rest: str, headers: Headers) -> Dialect:
    named = headers.get(DIALECT_HEADER)
    if named is not None:
        if named.lower() not in tuple(Dialect):
            raise InvalidRequest(
                f"The header {DIALECT_HEADER} is 'openai' or 'together', not '{named[:80]}'.",
                param=DIALECT_HEADER,
            )
        return Dialect(named.lower())
    is_together = (
        _TOGETHER_AGENT.match(headers.get("user-agent", "")) is not None
        or "x-together-client-user-agent" in headers
        or _TOGETHER_ONLY.fullmatch(rest) is not None
        # Only Together's clients name a file in a form of this kind before they send it.
        or (
            rest == "/files"
            and headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        )
    )
    return Dialect.TOGETHER if is_together else Dialect.OPENAI


class DialectPaths:
    """ASGI layer: rewrites each path of the API to the dialect's own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            path = api_path(scope["path"], Headers(scope=scope))
        except InvalidRequest as error:
            await fault_reply(error)(scope, receive, send)
            return
        if path is not None:
            scope["state"]["asked_path"] = scope["path"]
            scope["path"] = path
            scope["raw_path"] = path.encode()
        await self._app(scope, receive, send)
