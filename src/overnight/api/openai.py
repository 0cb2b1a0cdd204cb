"""The routes of the OpenAI dialect, under `/openai/v1`."""

from typing import Annotated, Final, Literal

from fastapi import FastAPI, Query, Request
from starlette.responses import JSONResponse, Response

from overnight.api import examples
from overnight.api import openai_shapes as shapes
from overnight.api.application import application
from overnight.api.bodies import CreateBatch, documented, read_json
from overnight.api.content import content_reply
from overnight.api.openapi import answers, content_answers, form_body
from overnight.api.part_uploads import OpenAiUploads
from overnight.api.sending import replay_headers, sending_of
from overnight.api.upload_shapes import CompleteUpload, CreateUpload, PartObject, UploadObject
from overnight.api.uploads import Uploads
from overnight.domain.dialect import Dialect
from overnight.domain.errors import InvalidRequest
from overnight.domain.job import Job
from overnight.service.files import Files
from overnight.service.jobs import Jobs
from overnight.service.submission import SubmitJob

LINE_RULES = "openai"
LINE_RULES_HEADER: Final = "x-overnight-line-rules"
"""With `together`, lines may be without `method` and `url`: `overnight submit` takes what
`overnight run` takes."""

UPLOAD: Final = form_body(
    ["multipart/form-data"],
    ["purpose", "file"],
    purpose="What it is for: `batch`, to be the input of one.",
    file="file",
    expires_after__anchor="`created_at`, if the file shall be deleted some time after that.",
    expires_after__seconds="How long after that: from 3600 to 2592000.",
)


class OpenAiRoutes:
    """Reads requests, calls the use case, spells the answer; decides nothing."""

    def __init__(
        self, files: Files, jobs: Jobs, uploads: Uploads, part_uploads: OpenAiUploads
    ) -> None:
        self._files = files
        self._jobs = jobs
        self._uploads = uploads
        self._part_uploads = part_uploads

    def application(self) -> FastAPI:
        app = application("Overnight: OpenAI Batch API", examples.OPENAI)
        get, post, delete = app.get, app.post, app.delete
        post("/files", responses=answers(shapes.FileObject), openapi_extra=UPLOAD)(self.upload)
        get("/files", responses=answers(shapes.FileList))(self.list_files)
        get("/files/{file_id}", responses=answers(shapes.FileObject))(self.get_file)
        get("/files/{file_id}/content", responses=content_answers(), response_class=Response)(
            self.content
        )
        delete("/files/{file_id}", responses=answers(shapes.DeletedFile, refused=(409,)))(
            self.delete
        )
        self._add_part_uploads(app)
        post(
            "/batches",
            responses=answers(shapes.Batch, refused=(409,)),
            openapi_extra=documented(CreateBatch),
        )(self.submit)
        get("/batches", responses=answers(shapes.BatchList))(self.list_batches)
        get("/batches/{batch_id}", responses=answers(shapes.Batch))(self.get_batch)
        post("/batches/{batch_id}/cancel", responses=answers(shapes.Batch, refused=(409,)))(
            self.cancel
        )
        return app

    def _add_part_uploads(self, app: FastAPI) -> None:
        parts, upload = self._part_uploads, answers(UploadObject, refused=(409,))
        app.post(
            "/uploads", responses=answers(UploadObject), openapi_extra=documented(CreateUpload)
        )(parts.create)
        app.get("/uploads/{upload_id}", responses=answers(UploadObject))(parts.get)
        app.post(
            "/uploads/{upload_id}/parts",
            responses=answers(PartObject, refused=(409,)),
            openapi_extra=form_body(["multipart/form-data"], ["data"], data="file"),
        )(parts.add_part)
        app.post(
            "/uploads/{upload_id}/complete",
            responses=upload,
            openapi_extra=documented(CompleteUpload),
        )(parts.complete)
        app.post("/uploads/{upload_id}/cancel", responses=upload)(parts.cancel)

    async def upload(self, request: Request) -> Response:
        """Store a file: multipart with `purpose` and `file`, in any order."""
        return await self._uploads.post(request, Dialect.OPENAI)

    async def list_files(
        self,
        request: Request,
        purpose: str | None = None,
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
        order: Literal["asc", "desc"] = "desc",
    ) -> Response:
        """Files in pages, by age; `after` is the last one of the page before."""
        files, has_more = await self._files.page(
            request.state.tenant,
            purpose=purpose,
            after=after,
            limit=limit,
            ascending=order == "asc",
        )
        return JSONResponse(shapes.file_list(files, has_more))

    async def get_file(self, request: Request, file_id: str) -> Response:
        """What there is to know of a file, but for its bytes."""
        return JSONResponse(
            shapes.file_object(await self._files.get(file_id, request.state.tenant))
        )

    async def content(self, request: Request, file_id: str) -> Response:
        """The bytes of a file; single ranges are served."""
        content = await self._files.content(file_id, request.state.tenant)
        return content_reply(content, request.headers)

    async def delete(self, request: Request, file_id: str) -> Response:
        """Refused with 409 while a batch that has not ended refers to the file."""
        await self._files.delete(file_id, request.state.tenant)
        return JSONResponse(shapes.deleted_file(file_id))

    async def submit(self, request: Request) -> Response:
        """Create a batch; answered before the file is looked at."""
        body = await read_json(request, CreateBatch)
        lifetime = body.output_expires_after
        wish = SubmitJob(
            tenant=request.state.tenant,
            input_file_id=body.input_file_id,
            endpoint=body.endpoint,
            line_rules=_line_rules(request),
            completion_window=body.completion_window,
            metadata=body.metadata,
            output_expires_after_seconds=None if lifetime is None else lifetime.seconds,
        )
        submitted = await self._jobs.submit(wish, sending_of(request))
        reply = await self._batch(submitted.job)
        reply.headers.update(replay_headers(submitted))
        return reply

    async def list_batches(
        self,
        request: Request,
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> Response:
        """Batches in pages, newest first; `after` is the last one of the page before."""
        jobs, has_more = await self._jobs.page(request.state.tenant, after=after, limit=limit)
        waiting = await self._jobs.all_waiting_for(jobs)
        batches = [shapes.batch(job, waiting.get(job.id)) for job in jobs]
        return JSONResponse(shapes.batch_list(batches, has_more))

    async def get_batch(self, request: Request, batch_id: str) -> Response:
        """How far it is; while it does not move, `waiting_for` says why."""
        return await self._batch(await self._jobs.get(batch_id, request.state.tenant))

    async def cancel(self, request: Request, batch_id: str) -> Response:
        """What is finished is kept and delivered; asking twice is fine."""
        return await self._batch(await self._jobs.cancel(batch_id, request.state.tenant))

    async def _batch(self, job: Job) -> Response:
        return JSONResponse(shapes.batch(job, await self._jobs.waiting_for(job)))


def _line_rules(request: Request) -> str:
    """Raises `InvalidRequest` when the header names none."""
    named = request.headers.get(LINE_RULES_HEADER, LINE_RULES)
    if named not in tuple(Dialect):
        raise InvalidRequest(
            f"The header {LINE_RULES_HEADER} is 'openai' or 'together', not '{named[:80]}'.",
            param=LINE_RULES_HEADER,
        )
    return named
