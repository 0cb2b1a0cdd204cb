"""Uploads in parts: OpenAI's Uploads and Together's multipart uploads.

OpenAI's clients send parts with their key and order them when all are in. Together's are given a
signed link for each part, number them, and prove with tags that they mean the same bytes.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from overnight.api import together_shapes, upload_shapes
from overnight.api.bodies import read_json
from overnight.api.duplicates import duplicate_reply
from overnight.api.forms import announced_bytes, base_name, read_form
from overnight.api.links import storage_link
from overnight.api.upload_shapes import (
    AbortedMultipart,
    CompletedMultipart,
    CompleteMultipart,
    CompleteUpload,
    CreateUpload,
    InitiateMultipart,
    MultipartPlaces,
    NamedMultipart,
    PartPlace,
)
from overnight.domain.errors import InvalidRequest, NotFound
from overnight.domain.upload import UploadStatus
from overnight.service.files import Files, NewFile
from overnight.service.part_order import OrderOfIds, OrderOfNumbers
from overnight.service.part_uploads import NewUpload, PartUploads


class OpenAiUploads:
    """`/uploads` and what is below it."""

    def __init__(self, files: Files, parts: PartUploads) -> None:
        self._files = files
        self._parts = parts

    async def create(self, request: Request) -> Response:
        """Announce a file; its parts may come within an hour."""
        body = await read_json(request, CreateUpload)
        tenant: str = request.state.tenant
        await self._files.check_room(tenant)
        lifetime = body.expires_after.seconds if body.expires_after else None
        details = NewFile(
            tenant=tenant,
            name=base_name(body.filename),
            purpose=together_shapes.stored_purpose(body.purpose),
            expires_after_seconds=lifetime,
        )
        upload = await self._parts.create(NewUpload(details, body.bytes))
        return JSONResponse(upload_shapes.upload_object(upload, None))

    async def get(self, request: Request, upload_id: str) -> Response:
        """How it stands; beyond the OpenAI API, which does not tell."""
        tenant: str = request.state.tenant
        upload = await self._parts.get(upload_id, tenant)
        file = None
        if upload.status is UploadStatus.COMPLETED:
            file = await self._files.get(upload.file_id, tenant)
        return JSONResponse(upload_shapes.upload_object(upload, file))

    async def add_part(self, request: Request, upload_id: str) -> Response:
        """Send a part: multipart, in a part named `data`. Several may be under way."""
        upload = await self._parts.get(upload_id, request.state.tenant)
        async with await self._parts.incoming(upload) as incoming:
            form = await read_form(request, incoming, file_part="data")
            if form.file_name is None:
                raise InvalidRequest(
                    "Missing required parameter: 'data'.",
                    param="data",
                    code="missing_required_parameter",
                )
            part = await self._parts.add_part(upload, incoming)
        return JSONResponse(upload_shapes.part_object(part))

    async def complete(self, request: Request, upload_id: str) -> Response:
        """Make a file of the parts, in the order of `part_ids`."""
        tenant: str = request.state.tenant
        await self._parts.get(upload_id, tenant)
        body = await read_json(request, CompleteUpload)
        order = OrderOfIds(body.part_ids, body.md5)
        upload, file = await self._parts.complete(upload_id, tenant, order)
        return JSONResponse(upload_shapes.upload_object(upload, file))

    async def cancel(self, request: Request, upload_id: str) -> Response:
        """No more parts are taken, and those that came are removed."""
        upload = await self._parts.cancel(upload_id, request.state.tenant)
        return JSONResponse(upload_shapes.upload_object(upload, None))


class TogetherMultipart:
    """`/files/multipart/…`, and the links that its answers hold."""

    def __init__(self, files: Files, parts: PartUploads, public_url: str | None) -> None:
        self._files = files
        self._parts = parts
        self._public_url = public_url

    async def initiate(self, request: Request) -> Response:
        """Announce a file and get a link for each of its parts."""
        body = await read_json(request, InitiateMultipart)
        tenant: str = request.state.tenant
        await self._files.check_room(tenant)
        purpose = together_shapes.stored_purpose(body.purpose)
        details = NewFile(tenant, base_name(body.file_name), purpose)
        duplicate = await self._files.duplicate(details, body.checksum)
        if duplicate is not None:
            return duplicate_reply(duplicate)
        upload = await self._parts.create(
            NewUpload(details, body.file_size, body.num_parts, body.checksum)
        )
        places: list[PartPlace] = [
            {
                "PartNumber": number,
                "URL": storage_link(request, self._public_url, f"parts/{token}"),
                "Headers": {},
            }
            for number, token in enumerate(self._parts.links(upload), 1)
        ]
        return JSONResponse(
            MultipartPlaces(upload_id=upload.id, file_id=upload.file_id, parts=places)
        )

    async def put_part(self, request: Request) -> Response:
        """`PUT /storage/parts/{token}`: the bytes of one part, on the right of the link alone."""
        link = self._parts.read_link(request.path_params["token"])
        upload = await self._parts.get(link.upload_id, None)
        async with await self._parts.incoming(upload, link.number) as incoming:
            incoming.refuse_over_limit(announced_bytes(request))
            async for chunk in request.stream():
                await incoming.write(chunk)
            part = await self._parts.add_part(upload, incoming, link.number)
        return Response(status_code=200, headers={"etag": f'"{part.sha256}"'})

    async def complete(self, request: Request) -> Response:
        """Make a file of the parts."""
        body = await read_json(request, CompleteMultipart)
        await self._check(body, request.state.tenant)
        tags = {part.part_number: part.etag for part in body.parts}
        if len(tags) < len(body.parts):
            raise InvalidRequest(
                f"The {len(body.parts):,} 'parts' name {len(tags):,} parts; name each once.",
                param="parts",
            )
        _, file = await self._parts.complete(
            body.upload_id, request.state.tenant, OrderOfNumbers(tags)
        )
        return JSONResponse(CompletedMultipart(file=together_shapes.file_object(file)))

    async def abort(self, request: Request) -> Response:
        """No more parts are taken, and those that came are removed."""
        body = await read_json(request, NamedMultipart)
        await self._check(body, request.state.tenant)
        await self._parts.cancel(body.upload_id, request.state.tenant)
        return JSONResponse(
            AbortedMultipart(upload_id=body.upload_id, file_id=body.file_id, aborted=True)
        )

    async def _check(self, named: NamedMultipart, tenant: str) -> None:
        """Raises `NotFound` for an upload that is not there, or not one of this file."""
        upload = await self._parts.get(named.upload_id, tenant)
        if upload.file_id != named.file_id:
            raise NotFound(f"{upload.id} is no upload of {named.file_id[:80]}.", param="file_id")
