"""The answer to an upload of bytes that are here already."""

from starlette.responses import JSONResponse

from overnight.api.faults import fault_body
from overnight.domain.file import StoredFile


def duplicate_reply(file: StoredFile) -> JSONResponse:
    """409 with the id of the file there is, which Together's clients then use; they would ask
    three times if the header did not tell them not to."""
    message = f"{file.id} has the same bytes; use it instead."
    body = fault_body(409, message, code="file_exists", param="checksum")
    return JSONResponse({"file_id": file.id, **body}, 409, {"x-should-retry": "false"})
