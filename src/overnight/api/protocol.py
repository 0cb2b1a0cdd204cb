"""HTTP/1.1 as uvicorn speaks it, but what it can not read is refused in our one shape too."""

import json
import sys
from asyncio import AbstractEventLoop
from functools import partial
from typing import Any, Final, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from overnight.api.faults import fault_body
from overnight.api.request_ids import new_request_id
from overnight.seams import Chance

HEAD_BYTES_MAX: Final = 64 * 1024
"""Of the address and all headers of a request; its parser itself has no limit."""


class _HeadSizeError(Exception):
    """Raised through the parser, which hands it on as the context of its own error."""


class RefusingProtocol(HttpToolsProtocol):
    """Answers 431 to a head without end, and 400 to bytes that are no HTTP, then hangs up."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
        *,
        chance: Chance,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._chance = chance
        self._in_head = False
        self._head_bytes = 0

    def data_received(self, data: bytes) -> None:
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        length = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if length > HEAD_BYTES_MAX:
            raise _HeadSizeError
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """uvicorn's own would be plain text. Called while the parser's error is handled."""
        error = sys.exception()
        if error is not None and isinstance(error.__context__, _HeadSizeError):
            self._refuse_head()
            return
        reason = f" ({error})" if error is not None and str(error) else ""
        self._refuse(
            400, f"{msg.rstrip('.')}{reason}; send HTTP/1.1 as RFC 9112 has it.", "invalid_http"
        )

    def _refuse_head(self) -> None:
        self._refuse(
            431,
            f"The address and headers of a request have at most {HEAD_BYTES_MAX:,} bytes together; "
            "send less, and what is large in the body.",
            "headers_too_large",
        )

    def _refuse(self, status: int, message: str, code: str) -> None:
        if self._is_answering():
            # In the middle of a reply another one could not be told from its body.
            self.transport.close()
            return
        body = json.dumps(fault_body(status, message, code=code)).encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", new_request_id(self._chance).encode()),
            (b"connection", b"close"),
        ]
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + body)
        self.transport.close()

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and cycle.response_started and not cycle.response_complete


def protocol_class(chance: Chance) -> type[HttpToolsProtocol]:
    """What uvicorn calls for each connection, as if it were a class."""
    return cast("type[HttpToolsProtocol]", partial(RefusingProtocol, chance=chance))
