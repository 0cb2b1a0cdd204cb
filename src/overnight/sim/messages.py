"""The bytes of replies: heads, and bodies of refusals and of faults."""

from http import HTTPStatus

import msgspec

from overnight.domain.errors import CallerFault
from overnight.sim.connection import Request
from overnight.sim.faults import GARBAGE_BODY, status_of
from overnight.sim.replies import BAD_REQUEST

RETRY_AFTER_SECONDS = 1

_STATUS_OF_CODE = {
    "model_not_found": 404,
    "unknown_url": 404,
    "method_not_allowed": 405,
    "body_too_large": 413,
}


def refusal(fault: CallerFault) -> tuple[int, bytes]:
    status = _STATUS_OF_CODE.get(fault.code, 400)
    if fault.code == BAD_REQUEST:
        error = {"message": fault.message, "type": BAD_REQUEST, "param": fault.param, "code": 400}
        return status, msgspec.json.encode({"error": error})
    return status, _error(status, fault.message, fault.code, fault.param)


def faulty(fault: str, times: int) -> tuple[int, bytes]:
    """What is answered, if it is answered."""
    status = status_of(fault)
    if status is None:
        return 200, GARBAGE_BODY
    return status, _error(status, f"Simulated fault on attempt {times}.", "simulated_fault")


def _error(status: int, message: str, code: str, param: str | None = None) -> bytes:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return msgspec.json.encode(
        {"error": {"message": message, "type": kind, "param": param, "code": code}}
    )


def _head(status: HTTPStatus, content_type: str = "application/json") -> bytes:
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"content-type: {content_type}",
        "server: overnight-sim",
    ]
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        lines.append(f"retry-after: {RETRY_AFTER_SECONDS}")
    head = "".join(f"{line}\r\n" for line in lines)
    return head.encode() + b"x-request-id: %b\r\n%bcontent-length: %d\r\n\r\n"


_HEADS = {status.value: _head(status) for status in HTTPStatus if status >= 400 or status == 200}
_METRICS_HEAD = _head(HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8")


def message(status: int, request_id: bytes, body: bytes, request: Request) -> bytes:
    return _filled(_HEADS[status], request_id, body, request)


def metrics_message(request_id: bytes, body: bytes, request: Request) -> bytes:
    return _filled(_METRICS_HEAD, request_id, body, request)


def _filled(head: bytes, request_id: bytes, body: bytes, request: Request) -> bytes:
    connection = b"" if request.keep_alive else b"connection: close\r\n"
    head %= (request_id, connection, len(body))
    return head if request.method == b"HEAD" else head + body
