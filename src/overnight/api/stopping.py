"""What a client hears whose request the end of the process cuts off."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from overnight.api.faults import fault_reply
from overnight.domain.errors import Unavailable


class StoppingReplies:
    """ASGI layer: a request that is cancelled before its reply began is answered with 503, which
    the SDKs try again; the server's own word would be a 500 in plain text."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except asyncio.CancelledError:
            if started:
                raise
            stopping = Unavailable("The server is stopping; send the request again in a moment.")
            await fault_reply(stopping)(scope, receive, send)
