"""HTTP/1.1 as uvicorn speaks it, but what it can not read is refused in our one shape too."""

import json
from asyncio import AbstractEventLoop
from functools import partial
from typing import Any, Final, cast

import httptools
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
        self._unset_keepalive_if_required()
        was_in_head = self._in_head
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse_unreadable(error)
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
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Read the request as if it had not offered another protocol (RFC 9110, 7.8).

        Some clients offer HTTP/2 with everything they send, and the parser then takes what
        follows the head for the other protocol: the body would be lost.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            message = "This is an HTTP/1.1 server and no proxy; CONNECT is not for it."
            self._refuse(400, message, "invalid_http")
            return
        version = self.parser.get_http_version().encode()
        kept = [b"%b %b HTTP/%b" % (method, self.url, version)]
        kept += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join(kept) + b"\r\n\r\n" + rest)

    def _refuse_unreadable(self, error: httptools.HttpParserError) -> None:
        if isinstance(error.__context__, _HeadSizeError):
            self._refuse_head()
        else:
            self._refuse(400, f"This is not HTTP/1.1 as RFC 9112 has it: {error}.", "invalid_http")

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
