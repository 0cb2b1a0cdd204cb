"""Bodies come as they are: what is compressed is refused, and not stored as if it were a file."""

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from overnight.api.faults import fault_body


class PlainBodies:
    """ASGI layer: answers 415 to a request whose body is coded in any way.

    Unpacking would let a few kilobytes become a full disk, and the limit on a file would have to
    be kept twice.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (coding := _coding(Headers(scope=scope))):
            message = (
                f"The body is sent as '{coding[:80]}'; send it as it is, without the header "
                "Content-Encoding."
            )
            body = fault_body(415, message, code="unsupported_media_type")
            reply = JSONResponse(body, 415, {"accept-encoding": "identity"})
            await reply(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _coding(headers: Headers) -> str:
    """Of the content or of its transfer, where both are neither absent nor the usual ones."""
    content = ",".join(headers.getlist("content-encoding")).strip()
    transfer = ",".join(headers.getlist("transfer-encoding")).strip()
    if content.lower() not in ("", "identity"):
        return content
    return transfer if transfer.lower() not in ("", "chunked") else ""
