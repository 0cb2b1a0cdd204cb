"""What both dialects' FastAPI applications have in common."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from overnight import __version__
from overnight.api.faults import HANDLERS, fault_reply
from overnight.api.validation import refusal

Responses = dict[int | str, dict[str, Any]]
"""FastAPI's own type for what a route may answer."""


def answers(model: object, status: int = 200) -> Responses:
    """Documents the body of a route that spells its answer itself."""
    return {status: {"model": model}}


def application(title: str) -> FastAPI:
    """An application whose every error has our one shape.

    No redirects for a trailing slash (clients would turn the POST of an upload into a GET), and
    no documentation pages, as those load scripts from elsewhere; `/openapi.json` is there.
    """
    app = FastAPI(
        title=title, version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.add_exception_handler(RequestValidationError, _on_invalid_query)
    return app


async def _on_invalid_query(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for nothing else
    first = error.errors()[0]
    return fault_reply(refusal(first, first["loc"][1:]))
