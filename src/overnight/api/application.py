"""What both dialects' FastAPI applications have in common."""

import re
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.responses import Response

from overnight import __version__
from overnight.api import openapi
from overnight.api.faults import HANDLERS, fault_reply
from overnight.api.validation import refusal


class _Application(FastAPI):
    """`examples` are for its document, by the names of the schemas they are of."""

    examples: Mapping[str, object]
    _document: dict[str, Any] | None = None

    def openapi(self) -> dict[str, Any]:
        if self._document is None:
            self._document = openapi.completed(super().openapi(), self.examples)
        return self._document


def application(title: str, examples: Mapping[str, object]) -> FastAPI:
    """An application whose every error has our one shape.

    No redirects for a trailing slash (clients would turn the POST of an upload into a GET), and
    no documentation pages, as those load scripts from elsewhere; `/openapi.json` is there.
    """
    app = _Application(
        title=title,
        version=__version__,
        description=(
            "Files and batches on a server of one's own. While it has no API key, none is needed."
        ),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    app.examples = examples
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.add_exception_handler(RequestValidationError, _on_invalid_query)
    return app


def _operation_id(route: APIRoute) -> str:
    """Such as `post_batches_batch_id_cancel`."""
    return re.sub(r"\W+", "_", f"{min(route.methods or ())}{route.path_format}".lower()).rstrip("_")


async def _on_invalid_query(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for nothing else
    first = error.errors()[0]
    return fault_reply(refusal(first, first["loc"][1:]))
