"""Every error as the one reply that all official SDKs can read.

    {"error": {"message": …, "type": …, "param": str | null, "code": str | null}}

A `detail` body, a bare string or a `code` that is a number crash one SDK or another, so this is
the only shape on every route, the framework's own errors included.
"""

from collections.abc import Mapping
from typing import Final

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ExceptionHandler

from overnight.api.links import STORAGE_PREFIX
from overnight.domain import errors

_log = structlog.get_logger()

STATUS_OF: Final[Mapping[type[errors.OvernightError], int]] = {
    errors.InvalidRequest: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.LimitExceeded: 413,
    errors.CallerFault: 400,
    errors.Unavailable: 503,
    errors.OvernightError: 500,
}
"""The nearest class decides; whatever is not named here is our own fault."""

_CODE_OF_STATUS: Final[Mapping[int, str]] = {
    404: "unknown_url",
    405: "method_not_allowed",
    413: "request_too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    422: "invalid_value",
}

_WHAT_THERE_IS: Final = "The API is under /v1: /v1/files, /v1/uploads and /v1/batches."
_PATH_TOLD_MAX: Final = 200
RETRY_AFTER_SECONDS: Final = 5


def status_of(error: errors.OvernightError) -> int:
    """The HTTP status of an error of ours."""
    return next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)


def fault_body(
    status: int, message: str, *, code: str | None, param: str | None = None
) -> dict[str, dict[str, str | None]]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def fault_reply(error: errors.OvernightError) -> JSONResponse:
    """The reply for an error of ours.

    409 and the 5xx that no repetition heals say so, or the SDKs would try three times.
    """
    status = status_of(error)
    headers = {}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if status == 503:
        headers["retry-after"] = str(RETRY_AFTER_SECONDS)
    if status in (409, 500):
        headers["x-should-retry"] = "false"
    param = error.param if isinstance(error, errors.CallerFault) else None
    body = fault_body(status, str(error), code=error.code, param=param)
    return JSONResponse(body, status, headers)


async def _on_our_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.OvernightError)  # noqa: S101  registered for nothing else
    reply = fault_reply(error)
    if reply.status_code >= 500:
        path = _path_to_log(request)
        _log.error("could not answer", method=request.method, path=path, why=str(error))
    return reply


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for nothing else
    status = error.status_code
    path = _path(request)
    message, headers = str(error.detail), error.headers
    if status == 404:
        message = f"There is no {request.method} {path}. {_WHAT_THERE_IS}"
    elif status == 405:
        allowed = ", ".join(_methods(request))
        headers = {"allow": allowed}
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=headers)
        message = f"{request.method} is not for {path}; what is: {allowed}."
    body = fault_body(status, message, code=_CODE_OF_STATUS.get(status, "http_error"))
    return JSONResponse(body, status, headers)


def _path(request: Request) -> str:
    """As it was asked for, before it got its dialect's place."""
    path: str = request.scope.get("state", {}).get("asked_path", request.url.path)
    return path[:_PATH_TOLD_MAX]


def _path_to_log(request: Request) -> str:
    """Whoever reads the log must not be able to use a link that was sent, nor have their terminal
    steered by whoever sent it."""
    path = _path(request)
    if path.startswith(STORAGE_PREFIX):
        return f"{STORAGE_PREFIX}…"
    return path if path.isprintable() else ascii(path)


def _methods(request: Request) -> list[str]:
    """All that the path takes: a route knows only its own."""
    path = getattr(request.scope["route"], "path", None)
    methods = {"OPTIONS"}
    for route in request.app.routes:
        if getattr(route, "path", None) == path:
            methods |= getattr(route, "methods", None) or set()
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


async def _on_disconnect(_: Request, __: Exception) -> Response:
    # Nobody reads this; without it the log would call a closed laptop an error.
    return Response(status_code=400)


async def _on_surprise(request: Request, _: Exception) -> Response:
    request_id = request.scope.get("state", {}).get("request_id")
    message = f"Something broke on our side; the log names it by the request id {request_id}."
    body = fault_body(500, message, code="internal_error")
    return JSONResponse(body, 500, {"x-should-retry": "false"})


HANDLERS: Final[Mapping[type[Exception], ExceptionHandler]] = {
    errors.OvernightError: _on_our_error,
    HTTPException: _on_http_error,
    ClientDisconnect: _on_disconnect,
    Exception: _on_surprise,
}
"""What each application on the port installs in place of its framework's own."""
