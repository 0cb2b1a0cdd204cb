"""An id for every reply, so that a user's complaint can be found in the log."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from overnight.seams import Chance


def new_request_id(chance: Chance) -> str:
    return f"req_{chance.token(24)}"


class RequestIds:
    """ASGI layer: sets `state["request_id"]` and answers with it as `x-request-id`.

    Whatever is logged on the way has it too: each request is a task with a context of its own.
    """

    def __init__(self, app: ASGIApp, chance: Chance) -> None:
        self._app = app
        self._chance = chance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_request_id(self._chance)
        scope.setdefault("state", {})["request_id"] = request_id
        bind_contextvars(request_id=request_id)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)
