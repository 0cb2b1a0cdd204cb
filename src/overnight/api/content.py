"""Downloads: the bytes of a file, whole or one range, at the pace of whoever reads them."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from overnight.api.faults import fault_body
from overnight.domain.file import StoredFile
from overnight.service.files import Content

_BLOCK_BYTES: Final = 512 * 1024
_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
"""Of as many digits as any file has; Python refuses to read thousands of them."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """From `start` up to and not including `stop`."""

    start: int
    stop: int


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """The single range of a `Range` header; the whole file for any other wish (RFC 9110, 14.2).

    None when no byte of the file is in the range.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or not (match[1] or match[2]):
        return ByteRange(0, size)
    if not match[1]:
        start, stop = max(0, size - int(match[2])), size
    else:
        start, stop = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
        if match[2] and int(match[2]) < start:
            return ByteRange(0, size)
    return ByteRange(start, stop) if start < stop else None


class ContentReply(Response):
    """Sends a `Content` block by block and closes it, whether it was read to its end or not.

    Never compressed and always with its length, so that a client can tell when bytes are missing.
    """

    media_type = "application/octet-stream"

    def __init__(self, content: Content, span: ByteRange) -> None:
        size = content.file.bytes
        self._content = content
        self._span = span
        whole = span == ByteRange(0, size)
        headers = {
            "content-length": str(span.stop - span.start),
            "accept-ranges": "bytes",
            "content-disposition": _attachment(content.file.name),
            "etag": etag(content.file),
        }
        if not whole:
            headers["content-range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
        super().__init__(None, 200 if whole else 206, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            offset = self._span.start
            while offset < self._span.stop:
                # Sending to a client that left does nothing, quickly: without this the rest of
                # a large file would be read for nobody.
                if await request.is_disconnected():
                    return
                length = min(_BLOCK_BYTES, self._span.stop - offset)
                block = await self._content.read(offset, length)
                await send({"type": "http.response.body", "body": block, "more_body": True})
                offset += length
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._content.close()


def etag(file: StoredFile) -> str:
    """Strong: the bytes of a result file never change, and of others it names them."""
    return f'"{file.sha256 or file.id}"'


def wanted_range(headers: Headers, file: StoredFile) -> str | None:
    """The `Range` header, unless the client asks for it of bytes that are not these: then
    `If-Range` holds another tag, and it gets the whole (RFC 9110, 13.1.5)."""
    condition = headers.get("if-range")
    return headers.get("range") if condition in (None, etag(file)) else None


def content_reply(content: Content, headers: Headers) -> Response:
    """The reply to a GET of a file's content; takes over closing it."""
    span = parse_range(wanted_range(headers, content.file), content.file.bytes)
    if span is not None:
        return ContentReply(content, span)
    content.close()
    size = content.file.bytes
    message = f"No byte of this file of {size} bytes is in the range asked for."
    body = fault_body(416, message, code="range_not_satisfiable", param="range")
    return JSONResponse(body, 416, {"content-range": f"bytes */{size}"})


def _attachment(name: str) -> str:
    """Plain ASCII for old readers, and the real name beside it (RFC 6266)."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in name)
    value = f'attachment; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"
