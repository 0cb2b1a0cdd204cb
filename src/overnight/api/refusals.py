"""What an error of each status means, whatever the route: for the documents and the pages."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from overnight.api.faults import fault_body


class Refusal(NamedTuple):
    """`code`, `message` and `param` are of one example among several."""

    meaning: str
    code: str
    message: str
    param: str | None = None


REFUSALS: Final[Mapping[int, Refusal]] = {
    400: Refusal(
        "Something is missing or wrong; `param` names it.",
        "missing_required_parameter",
        "Missing required parameter: 'endpoint'.",
        "endpoint",
    ),
    401: Refusal(
        "No API key, or none of this server's.",
        "invalid_api_key",
        "No API key: send it as 'Authorization: Bearer KEY'.",
    ),
    403: Refusal(
        "Without any API key only the machine itself is served.",
        "forbidden",
        "While the server has no API key it serves its own machine only; "
        "`overnight keys create NAME` on the server makes one.",
    ),
    404: Refusal(
        "There is none, or it is somebody else's.",
        "not_found",
        "No such File object: file-1",
        "id",
    ),
    405: Refusal(
        "The path is right, the method is not; `Allow` names those that are.",
        "method_not_allowed",
        "PUT is not for /v1/files; what is: GET, HEAD, OPTIONS, POST.",
    ),
    408: Refusal(
        "The request stopped in the middle: a minute without a byte of its body, or half a minute "
        "for all of its head.",
        "request_timeout",
        "The rest of the request did not come within 60 s; send it again.",
    ),
    409: Refusal(
        "Its state forbids this; trying again does not help.",
        "batch_not_cancellable",
        "Cannot cancel a batch with status 'completed'.",
    ),
    413: Refusal(
        "More than a limit, which the message names.",
        "file_too_large",
        "The file has 60,000,000,000 bytes or more; split it, for the limit "
        "`limits.file_bytes_max` is 53,687,091,200.",
        "file",
    ),
    415: Refusal(
        "The body is of another kind.",
        "unsupported_media_type",
        "Send the file as multipart/form-data, in a part named 'file'.",
    ),
    416: Refusal(
        "No byte of the file is in the range.",
        "range_not_satisfiable",
        "No byte of this file of 10 bytes is in the range asked for.",
        "range",
    ),
    431: Refusal(
        "The address and the headers are too large.",
        "headers_too_large",
        "The address and headers of a request have at most 65,536 bytes together; "
        "send less, and what is large in the body.",
    ),
    500: Refusal(
        "Something broke here; trying again does not help.",
        "internal_error",
        "Something broke on our side; the log names it by the request id req_5f1d.",
    ),
    503: Refusal(
        "Not now; `Retry-After` says when.",
        "unavailable",
        "The server is stopping; send the request again in a moment.",
    ),
}


def example_body(status: int) -> dict[str, dict[str, str | None]]:
    """The body of an error with this status."""
    told = REFUSALS[status]
    return fault_body(status, told.message, code=told.code, param=told.param)
