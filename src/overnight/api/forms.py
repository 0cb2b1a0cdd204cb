"""Upload forms, read as they arrive: small fields in memory, the file straight to its place.

Clients send the parts in any order (npm's sends the file before its purpose), with or without a
length, and file names as raw UTF-8.
"""

import logging
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from overnight.api.bodies import read_bounded
from overnight.domain.errors import InvalidRequest, LimitExceeded
from overnight.service.incoming import Incoming

_FIELDS_MAX: Final = 32
_NAME_LENGTH_MAX: Final = 80
_FIELD_BYTES_MAX: Final = 16 * 1024
_FORM_OVERHEAD_BYTES: Final = 1024 * 1024
_BOUNDARY_BYTES_MAX: Final = 70
"""RFC 2046, 5.1.1."""
_NAMELESS: Final = "upload"
"""What OpenAI's SDKs call bytes that have no name."""

# Whoever sent a bad form is told; in the log it would let anybody push out what matters.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


@dataclass(slots=True)
class UploadForm:
    """What a form said. `file_name` is None when it had no part with bytes."""

    fields: dict[str, str] = field(default_factory=dict)
    file_name: str | None = None


async def read_form(request: Request, incoming: Incoming, file_part: str = "file") -> UploadForm:
    """Read an upload form of either kind; the part named `file_part` goes to `incoming`.

    Raises `InvalidRequest` and `LimitExceeded`; answers 415 to any other kind of body.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind == b"application/x-www-form-urlencoded":
        body = (await read_bounded(request)).decode("utf-8", "replace")
        return UploadForm(dict(request.query_params) | _urlencoded_fields(body))
    if kind != b"multipart/form-data":
        raise HTTPException(
            415, f"Send the bytes as multipart/form-data, in a part named '{file_part}'."
        )
    boundary = options.get(b"boundary")
    if not boundary:
        raise InvalidRequest(
            "The Content-Type names no boundary; it should read "
            "'multipart/form-data; boundary=…', as HTTP libraries write it by themselves.",
            code="invalid_multipart",
        )
    if len(boundary) > _BOUNDARY_BYTES_MAX:
        raise InvalidRequest(
            f"The boundary has at most {_BOUNDARY_BYTES_MAX} characters, this one {len(boundary)}.",
            code="invalid_multipart",
        )
    incoming.refuse_over_limit(announced_bytes(request) - _FORM_OVERHEAD_BYTES)
    reader = _FormReader(boundary, file_part)
    around_bytes = 0
    async for chunk in request.stream():
        data = b"".join(reader.feed(chunk))
        around_bytes += len(chunk) - len(data)
        if around_bytes > _FORM_OVERHEAD_BYTES:
            raise LimitExceeded(
                f"The form has more than {_FORM_OVERHEAD_BYTES:,} bytes beside its file.",
                code="request_too_large",
            )
        if data:
            await incoming.write(data)
    return reader.finish()


def _urlencoded_fields(body: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(body, max_num_fields=_FIELDS_MAX))
    except ValueError:
        raise _too_many_fields() from None


def announced_bytes(request: Request) -> int:
    """The length of the body by its head; 0 when it does not say."""
    announced = request.headers.get("content-length", "")
    return int(announced) if announced.isdigit() else 0


class _FormReader:
    """Turns the parser's callbacks into an `UploadForm` and pieces of the file."""

    def __init__(self, boundary: bytes, file_part: str = "file") -> None:
        self._file_part = file_part
        self._form = UploadForm()
        self._pieces: list[bytes] = []
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._part_name: str | None = None
        self._field = b""
        self._is_file = False
        self._chunk = b""
        self._is_amid_file = False
        """The last byte of the chunk before was the file's, and no boundary can have begun."""
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_header_name,
                "on_header_value": self._add_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._name_part,
                "on_part_data": self._add_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> list[bytes]:
        """The pieces of the file in the next chunk of the body."""
        if self._is_amid_file and b"\r" not in chunk:
            # No boundary begins here, and to see that takes a tenth of looking for one.
            return [chunk]
        self._pieces, self._chunk, self._is_amid_file = [], chunk, False
        try:
            if chunk and not self._ended:
                self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidRequest(
                f"The form can not be read: {error}.", code="invalid_multipart"
            ) from error
        return self._pieces

    def finish(self) -> UploadForm:
        if not self._ended:
            raise InvalidRequest(
                "The form ends before its closing boundary '--BOUNDARY--'; send all of it.",
                code="invalid_multipart",
            )
        return self._form

    def _begin_part(self) -> None:
        self._disposition = self._field = b""

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _name_part(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        name = options.get(b"name")
        if name is None:
            raise InvalidRequest(
                "A part of the form has no name; its head should have "
                "'Content-Disposition: form-data; name=\"…\"'.",
                code="invalid_multipart",
            )
        self._part_name = name.decode("utf-8", "replace")[:_NAME_LENGTH_MAX]
        # A file sent as a plain field (curl -F file=text) is still the file.
        self._is_file = self._part_name == self._file_part
        if self._is_file:
            if self._form.file_name is not None:
                raise InvalidRequest("Send one file at a time.", param=self._file_part)
            file_name = options.get(b"filename", b"").decode("utf-8", "replace")
            self._form.file_name = base_name(file_name) or _NAMELESS
        elif len(self._form.fields) >= _FIELDS_MAX:
            raise _too_many_fields()

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._pieces.append(data[start:end])
            # What the parser holds back, as it may belong to a boundary, it does not hand out.
            self._is_amid_file = data is self._chunk and end == len(data)
            return
        self._field += data[start:end]
        if len(self._field) > _FIELD_BYTES_MAX:
            raise LimitExceeded(
                f"The field '{self._part_name}' has more than {_FIELD_BYTES_MAX:,} bytes; only "
                f"'{self._file_part}' may be larger.",
                param=self._part_name,
            )

    def _end_part(self) -> None:
        if not self._is_file and self._part_name is not None:
            self._form.fields[self._part_name] = self._field.decode("utf-8", "replace")

    def _end(self) -> None:
        self._ended = True


def _too_many_fields() -> LimitExceeded:
    return LimitExceeded(f"The form has more than {_FIELDS_MAX} fields; leave some out.")


def base_name(name: str) -> str:
    """Without directories of either kind of system; empty if nothing else is there."""
    return name.replace("\\", "/").rsplit("/", 1)[-1].strip(" ")
