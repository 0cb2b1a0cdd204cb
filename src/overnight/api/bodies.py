"""JSON bodies: what clients may send, and reading it with errors that name the field."""

from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from overnight.api.openapi import MODEL_REF
from overnight.api.validation import refusal
from overnight.domain.errors import InvalidRequest, LimitExceeded
from overnight.domain.request import MODEL_CHARACTERS_MAX

_BODY_BYTES_MAX: Final = 1024 * 1024


class Body(BaseModel):
    """Types are taken as they are: a number in a string is no number. Keys we do not know are
    other versions of the SDKs' and mean nothing."""

    model_config = ConfigDict(extra="ignore", strict=True)


class ExpiresAfter(Body):
    """The limits are those of the OpenAI API."""

    anchor: Literal["created_at"]
    seconds: int = Field(ge=3600, le=2_592_000)


FileId = Annotated[str, Field(examples=["file-3b2f0c9d8e7a6f5b4c3d2e1f"])]
Endpoint = Annotated[str, Field(examples=["/v1/chat/completions"])]
Window = Annotated[str, Field(examples=["24h"])]


class CreateBatch(Body):
    input_file_id: FileId
    endpoint: Endpoint
    completion_window: Window | None = None
    metadata: dict[str, str] | None = None
    output_expires_after: ExpiresAfter | None = None


class CreateBatchJob(Body):
    input_file_id: FileId
    endpoint: Endpoint
    completion_window: Window | None = None
    model_id: str | None = Field(default=None, max_length=MODEL_CHARACTERS_MAX)
    priority: int | None = Field(default=None, ge=-1000, le=1000)


B = TypeVar("B", bound=BaseModel)


async def read_bounded(request: Request) -> bytes:
    """The whole body of a request that carries no file; raises `LimitExceeded`."""
    pieces = []
    length = 0
    async for piece in request.stream():
        length += len(piece)
        if length > _BODY_BYTES_MAX:
            raise LimitExceeded(
                f"The body is larger than {_BODY_BYTES_MAX:,} bytes; "
                "what is large is uploaded as a file.",
                code="request_too_large",
            )
        pieces.append(piece)
    return b"".join(pieces)


async def read_json(request: Request, model: type[B]) -> B:
    """Raises `InvalidRequest` naming the first field that is wrong; ignores the Content-Type."""
    body = await read_bounded(request)
    if not body.strip():
        raise InvalidRequest("The body is empty; send a JSON object.", code="invalid_json")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise refusal(first, first["loc"]) from error


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` for a route that reads `model` itself."""
    schema = model.model_json_schema(ref_template=MODEL_REF)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
