"""The OpenAPI document of a dialect: what FastAPI makes of its routes, and what it can not know."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from overnight.api.refusals import REFUSALS, example_body

MODEL_REF: Final = "#/components/schemas/{model}"

Responses = dict[int | str, dict[str, Any]]
"""FastAPI's own type for what a route may answer."""


class Fault(TypedDict):
    """`code` and `param` are for programs, the message is for people."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorReply(TypedDict):
    """The body of every error, on every route."""

    error: Fault


_EVERYWHERE: Final = frozenset({400, 401, 403, 500, 503})

_SECURITY_SCHEMES: Final[Mapping[str, Mapping[str, str]]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "api-key": {
        "type": "apiKey",
        "in": "header",
        "name": "api-key",
        "description": "As Azure's clients send it.",
    },
}

_REQUEST_ID: Final = {
    "description": "Names the request in the server's log.",
    "required": True,
    "schema": {"type": "string", "pattern": "^req_[0-9a-f]+$"},
}

_BINARY: Final = {"type": "string", "format": "binary"}


def answers(model: object, status: int = 200, *, refused: tuple[int, ...] = ()) -> Responses:
    """Documents what a route answers that spells it itself: a body of `model` with `status`.

    `refused` are the statuses of its errors besides those of all routes of its kind.
    """
    return {status: {"model": model, "description": "Done."}} | refusals(*refused)


def refusals(*statuses: int) -> Responses:
    """Documents errors; `completed` spells them out."""
    return {status: {"description": REFUSALS[status].meaning} for status in statuses}


def content_answers() -> Responses:
    """Documents the bytes of a file, whole or in part."""
    body = {"content": {"application/octet-stream": {"schema": _BINARY}}}
    whole = {"description": "The whole file."} | body
    part = {"description": "The range that was asked for."} | body
    return {200: whole, 206: part} | refusals(416)


def form_body(kinds: Sequence[str], required: Sequence[str], **fields: str) -> dict[str, Any]:
    """`openapi_extra` for a route that reads a form: what each of its fields is, or `file` for
    one that holds bytes. `a__b` stands for a field named `a[b]`.
    """
    properties: dict[str, Any] = {}
    for name, meaning in fields.items():
        outer, _, inner = name.partition("__")
        told = _BINARY if meaning == "file" else {"type": "string", "description": meaning}
        properties[f"{outer}[{inner}]" if inner else name] = told
    schema = {"type": "object", "properties": properties, "required": list(required)}
    content = {kind: {"schema": schema} for kind in kinds}
    return {"requestBody": {"required": True, "content": content}}


def completed(document: dict[str, Any], examples: Mapping[str, object]) -> dict[str, Any]:
    """FastAPI's document with keys, errors, request ids and the bodies that routes read by
    themselves, and without its 422, which is never sent. `examples` go to schemas by name.
    """
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas |= _hoisted(TypeAdapter(ErrorReply).json_schema(ref_template=MODEL_REF))
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    refused: set[int] = set()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            refused |= _complete_replies(path, operation)
            for content in operation.get("requestBody", {}).get("content", {}).values():
                _name_schema(content, schemas)
    for name, example in examples.items():
        schemas[name]["examples"] = [example]
    components["responses"] = {str(status): _refusal(status) for status in sorted(refused)}
    components["securitySchemes"] = _SECURITY_SCHEMES
    document["security"] = [{name: []} for name in _SECURITY_SCHEMES]
    return document


def _complete_replies(path: str, operation: dict[str, Any]) -> set[int]:
    """Returns the statuses of its errors."""
    replies = operation["responses"]
    replies.pop("422", None)
    body = operation.get("requestBody", {}).get("content", {})
    refused = _refused_by_kind(path, body)
    refused |= {int(status) for status in replies if int(status) >= 400}
    for status in sorted(refused):
        replies[str(status)] = {"$ref": f"#/components/responses/{status}"}
    for reply in replies.values():
        if "$ref" not in reply:
            reply["headers"] = reply.get("headers", {}) | {"x-request-id": _REQUEST_ID}
    return refused


def _refused_by_kind(path: str, body: Mapping[str, Any]) -> set[int]:
    """What any route of such a path with such a body may answer."""
    refused = set(_EVERYWHERE)
    if "{" in path:
        refused.add(404)
    if body:
        refused.add(413)
    if "multipart/form-data" in body:
        refused.add(415)
    return refused


def _name_schema(content: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Move the schema of a body to where a document keeps those with a name."""
    schema = content["schema"]
    if "title" in schema:
        schemas |= _hoisted(schema)
        content["schema"] = {"$ref": MODEL_REF.format(model=schema["title"])}


def _hoisted(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema and those it refers to, by their names."""
    referred: dict[str, Any] = schema.pop("$defs", {})
    return referred | {schema["title"]: schema}


def _refusal(status: int) -> dict[str, Any]:
    schema = {"$ref": MODEL_REF.format(model=ErrorReply.__name__)}
    return {
        "description": REFUSALS[status].meaning,
        "content": {"application/json": {"schema": schema, "example": example_body(status)}},
        "headers": {"x-request-id": _REQUEST_ID},
    }
