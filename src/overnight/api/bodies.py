"""JSON bodies: what clients may send, and reading it with errors that name the field."""

from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from overnight.domain.errors import InvalidRequest, LimitExceeded

_BODY_BYTES_MAX: Final = 1024 * 1024

_CODES: Final = {
    "missing": "missing_required_parameter",
    "json_invalid": "invalid_json",
    "string_type": "invalid_type",
    "int_type": "invalid_type",
    "dict_type": "invalid_type",
    "model_type": "invalid_type",
}


class Body(BaseModel):
    """Keys we do not know are other versions of the SDKs' and mean nothing."""

    model_config = ConfigDict(extra="ignore")


class ExpiresAfter(Body):
    """The limits are those of the OpenAI API."""

    anchor: Literal["created_at"]
    seconds: int = Field(ge=3600, le=2_592_000)


class CreateBatch(Body):
    input_file_id: str
    endpoint: str
    completion_window: str | None = None
    metadata: dict[str, str] | None = None
    output_expires_after: ExpiresAfter | None = None


class CreateBatchJob(Body):
    input_file_id: str
    endpoint: str
    completion_window: str | None = None
    priority: int | None = Field(default=None, ge=-1000, le=1000)


B = TypeVar("B", bound=BaseModel)


async def read_bounded(request: Request) -> bytes:
    """The whole body of a request that carries no file; raises `LimitExceeded`."""
    pieces = []
    length = 0
    async for piece in request.stream():
        length += len(piece)
        if length > _BODY_BYTES_MAX:
            raise LimitExceeded(f"This body may have at most {_BODY_BYTES_MAX} bytes.")
        pieces.append(piece)
    return b"".join(pieces)


async def read_json(request: Request, model: type[B]) -> B:
    """Raises `InvalidRequest` naming the first field that is wrong; ignores the Content-Type."""
    body = await read_bounded(request)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error) from error


def invalid(error: ValidationError) -> InvalidRequest:
    first = error.errors(include_url=False, include_input=False)[0]
    param = ".".join(str(part) for part in first["loc"]) or None
    code = _CODES.get(first["type"])
    if code == "missing_required_parameter":
        return InvalidRequest(f"Missing required parameter: '{param}'.", param=param, code=code)
    what = f"'{param}': " if param else "The body: "
    return InvalidRequest(f"{what}{first['msg']}.", param=param, code=code)


def documented(model: type[BaseModel]) -> dict[str, object]:
    """`openapi_extra` for a route that reads `model` itself."""
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
