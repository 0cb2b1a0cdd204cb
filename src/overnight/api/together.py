"""The routes of the Together dialect, under `/together/v1`."""

from typing import Final

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from overnight.api import examples
from overnight.api import together_shapes as shapes
from overnight.api.application import application
from overnight.api.bodies import CreateBatchJob, documented, read_json
from overnight.api.content import content_reply
from overnight.api.openai_shapes import deleted_file
from overnight.api.openapi import Responses, answers, content_answers, form_body, refusals
from overnight.api.part_uploads import TogetherMultipart
from overnight.api.sending import replay_headers, sending_of
from overnight.api.upload_shapes import (
    AbortedMultipart,
    CompletedMultipart,
    CompleteMultipart,
    InitiateMultipart,
    MultipartPlaces,
    NamedMultipart,
)
from overnight.api.uploads import Uploads
from overnight.domain.dialect import Dialect
from overnight.domain.job import Job
from overnight.service.files import Files
from overnight.service.jobs import Jobs
from overnight.service.submission import SubmitJob

LINE_RULES = "together"
UPLOAD: Final = form_body(
    ["multipart/form-data", "application/x-www-form-urlencoded"],
    ["purpose"],
    purpose="What it is for: `batch-api`, to be the input of a batch.",
    file="file",
    file_name="Without a `file`: the name of what will be put where the answer says.",
    file_type="Ignored: the name tells.",
    checksum="The sha256 of those bytes in hex.",
)
WHOLE: Final = form_body(
    ["multipart/form-data"],
    ["purpose", "file"],
    purpose="As for `/files`.",
    file="file",
    file_name="Its name, if it shall be another than the one in the form.",
)
PLACE: Final[Responses] = {
    **refusals(409),
    302: {
        "description": "Where to put the bytes, if they are not in the form.",
        "headers": {
            "location": {"required": True, "schema": {"type": "string", "format": "uri"}},
            "x-together-file-id": {"required": True, "schema": {"type": "string"}},
        },
    },
}


class TogetherRoutes:
    """Reads requests, calls the use case, spells the answer; decides nothing."""

    def __init__(
        self, files: Files, jobs: Jobs, uploads: Uploads, multipart: TogetherMultipart
    ) -> None:
        self._files = files
        self._jobs = jobs
        self._uploads = uploads
        self._multipart = multipart

    def application(self) -> FastAPI:
        app = application("Overnight: Together Batch API", examples.TOGETHER)
        get, post, delete = app.get, app.post, app.delete
        file_model = answers(shapes.FileObject)
        job_model = answers(shapes.BatchJob)
        post("/files", responses=file_model | PLACE, openapi_extra=UPLOAD)(self.upload)
        post("/files/upload", responses=file_model, openapi_extra=WHOLE)(self.upload_whole)
        self._add_multipart(app)
        get("/files", responses=answers(shapes.FileList))(self.list_files)
        get("/files/{file_id}", responses=file_model)(self.get_file)
        get("/files/{file_id}/content", responses=content_answers(), response_class=Response)(
            self.content
        )
        post("/files/{file_id}/preprocess", responses=file_model)(self.preprocess)
        delete("/files/{file_id}", responses=answers(shapes.DeletedFile, refused=(409,)))(
            self.delete
        )
        post(
            "/batches",
            status_code=201,
            responses=answers(shapes.CreatedJob, 201, refused=(409,)),
            openapi_extra=documented(CreateBatchJob),
        )(self.submit)
        get("/batches", responses=answers(list[shapes.BatchJob]))(self.list_batches)
        get("/batches/{batch_id}", responses=job_model)(self.get_batch)
        post("/batches/{batch_id}/cancel", responses=answers(shapes.BatchJob, refused=(409,)))(
            self.cancel
        )
        return app

    def _add_multipart(self, app: FastAPI) -> None:
        multipart = self._multipart
        for path, handler, body, answer in (
            ("initiate", multipart.initiate, InitiateMultipart, MultipartPlaces),
            ("complete", multipart.complete, CompleteMultipart, CompletedMultipart),
            ("abort", multipart.abort, NamedMultipart, AbortedMultipart),
        ):
            app.post(
                f"/files/multipart/{path}",
                responses=answers(answer, refused=(404, 409)),
                openapi_extra=documented(body),
            )(handler)

    async def upload(self, request: Request) -> Response:
        """Without a `file` part: 302 to where the bytes go. With one: store it."""
        return await self._uploads.post(request, Dialect.TOGETHER)

    async def upload_whole(self, request: Request) -> Response:
        """Store the file in the form; unlike `/files`, never 302."""
        return await self._uploads.post_whole(request, Dialect.TOGETHER)

    async def list_files(self, request: Request) -> Response:
        """All of them: this API has no paging."""
        files, _ = await self._files.page(request.state.tenant)
        data = [shapes.file_object(file) for file in files]
        return JSONResponse(shapes.FileList(object="list", data=data))

    async def get_file(self, request: Request, file_id: str) -> Response:
        """What there is to know of a file, but for its bytes."""
        return JSONResponse(
            shapes.file_object(await self._files.get(file_id, request.state.tenant))
        )

    async def content(self, request: Request, file_id: str) -> Response:
        """The bytes of a file; single ranges are served."""
        content = await self._files.content(file_id, request.state.tenant)
        return content_reply(content, request.headers)

    async def preprocess(self, request: Request, file_id: str) -> Response:
        """Third step of an upload: its link is used up. Asking twice is fine."""
        return JSONResponse(
            shapes.file_object(await self._files.confirm(file_id, request.state.tenant))
        )

    async def delete(self, request: Request, file_id: str) -> Response:
        """Refused with 409 while a batch that has not ended refers to the file."""
        await self._files.delete(file_id, request.state.tenant)
        return JSONResponse(deleted_file(file_id))

    async def submit(self, request: Request) -> Response:
        """Create a batch job; answered before the file is looked at."""
        body = await read_json(request, CreateBatchJob)
        wish = SubmitJob(
            tenant=request.state.tenant,
            input_file_id=body.input_file_id,
            endpoint=body.endpoint,
            line_rules=LINE_RULES,
            completion_window=body.completion_window,
            model=body.model_id or None,
            priority=body.priority or 0,
        )
        submitted = await self._jobs.submit(wish, sending_of(request))
        waiting_for = await self._jobs.waiting_for(submitted.job)
        created = shapes.created_job(submitted.job, waiting_for)
        return JSONResponse(created, 201, replay_headers(submitted))

    async def list_batches(self, request: Request) -> Response:
        """A bare array of all of them: this API has no paging."""
        jobs, _ = await self._jobs.page(request.state.tenant)
        waiting = await self._jobs.all_waiting_for(jobs)
        return JSONResponse([shapes.batch_job(job, waiting.get(job.id)) for job in jobs])

    async def get_batch(self, request: Request, batch_id: str) -> Response:
        """How far it is; while it does not move, `waiting_for` says why."""
        return await self._job(await self._jobs.get(batch_id, request.state.tenant))

    async def cancel(self, request: Request, batch_id: str) -> Response:
        """What is finished is kept and delivered; asking twice is fine."""
        return await self._job(await self._jobs.cancel(batch_id, request.state.tenant))

    async def _job(self, job: Job) -> Response:
        return JSONResponse(shapes.batch_job(job, await self._jobs.waiting_for(job)))
