"""Uploads: in one request, or in Together's three steps.

Together's clients ask for a place first (answered by a redirect that names it), put the bytes
there without their key, and then confirm. What a form holds tells which of the two is meant.
"""

from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from overnight.api import openai_shapes, together_shapes
from overnight.api.duplicates import duplicate_reply
from overnight.api.forms import UploadForm, announced_bytes, base_name, read_form
from overnight.api.links import storage_link
from overnight.domain.dialect import Dialect
from overnight.domain.errors import InvalidRequest
from overnight.domain.file import StoredFile
from overnight.service.files import Files, NewFile

_LIFETIME_SECONDS_MIN: Final = 3600
_LIFETIME_SECONDS_MAX: Final = 2_592_000
"""30 days; both limits are those of the OpenAI API."""

_NAMED_BY: Final = {Dialect.OPENAI: "file", Dialect.TOGETHER: "file_name"}
"""What a form lacks that neither holds a file nor names one. (OpenAI's npm client silently leaves
a nameless blob out.)"""


class Uploads:
    """Answers what either dialect's clients send to store a file."""

    def __init__(self, files: Files, public_url: str | None) -> None:
        self._files = files
        self._public_url = public_url

    async def post(self, request: Request, dialect: Dialect) -> Response:
        """`POST /files`: a form with the file in it, or one that only names it."""
        return await self._post(request, dialect, whole=False)

    async def post_whole(self, request: Request, dialect: Dialect) -> Response:
        """`POST /files/upload`: a form with the file in it."""
        return await self._post(request, dialect, whole=True)

    async def _post(self, request: Request, dialect: Dialect, *, whole: bool) -> Response:
        tenant: str = request.state.tenant
        limit = await self._files.check_room(tenant)
        async with self._files.incoming(limit) as incoming:
            form = await read_form(request, incoming)
            if form.file_name is None:
                if whole or "file_name" not in form.fields:
                    raise _missing("file" if whole else _NAMED_BY[dialect])
                return await self._reserve(request, form)
            details = _details(tenant, form, form.file_name)
            file = await self._files.add(incoming, details)
        spoken = Dialect.TOGETHER if form.fields["purpose"] == "batch-api" else dialect
        return JSONResponse(_shape(file, spoken))

    async def put(self, request: Request) -> Response:
        """`PUT /storage/{token}`: the bytes, on the right of the link alone; exactly 200."""
        link = self._files.read_link(request.path_params["token"])
        async with self._files.incoming(await self._files.room_for(link)) as incoming:
            incoming.refuse_over_limit(announced_bytes(request))
            async for chunk in request.stream():
                await incoming.write(chunk)
            await self._files.fulfil(link, incoming)
        return Response(status_code=200)

    async def _reserve(self, request: Request, form: UploadForm) -> Response:
        name = base_name(form.fields["file_name"])
        details = _details(request.state.tenant, form, name)
        checksum = form.fields.get("checksum")
        duplicate = await self._files.duplicate(details, checksum)
        if duplicate is not None:
            return duplicate_reply(duplicate)
        file, token = await self._files.reserve(details, checksum)
        location = storage_link(request, self._public_url, token)
        return Response(
            status_code=302, headers={"location": location, "x-together-file-id": file.id}
        )


def _missing(param: str) -> InvalidRequest:
    return InvalidRequest(
        f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
    )


def _shape(file: StoredFile, dialect: Dialect) -> object:
    if dialect is Dialect.TOGETHER:
        return together_shapes.file_object(file)
    return openai_shapes.file_object(file)


def _details(tenant: str, form: UploadForm, name: str) -> NewFile:
    purpose = form.fields.get("purpose")
    if purpose is None:
        raise _missing("purpose")
    return NewFile(
        tenant=tenant,
        name=name,
        purpose=together_shapes.stored_purpose(purpose),
        expires_after_seconds=_lifetime(form),
    )


def _lifetime(form: UploadForm) -> int | None:
    anchor = form.fields.get("expires_after[anchor]")
    seconds = form.fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor is None or seconds is None:
        raise _missing(f"expires_after[{'seconds' if seconds is None else 'anchor'}]")
    if anchor != "created_at":
        raise InvalidRequest(
            f"Invalid value for 'expires_after[anchor]': expected 'created_at', "
            f"but got '{anchor[:80]}' instead.",
            param="expires_after[anchor]",
        )
    # So few digits that they can be read: Python refuses thousands.
    number = int(seconds) if seconds.isdecimal() and len(seconds) <= 10 else 0
    if not _LIFETIME_SECONDS_MIN <= number <= _LIFETIME_SECONDS_MAX:
        raise InvalidRequest(
            f"Invalid 'expires_after[seconds]': expected an integer from {_LIFETIME_SECONDS_MIN:,} "
            f"to {_LIFETIME_SECONDS_MAX:,}, but got '{seconds[:80]}' instead.",
            param="expires_after[seconds]",
        )
    return number
