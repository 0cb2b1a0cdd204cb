"""One request: the faults its line can have, and the outcomes its sending can have."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

import msgspec


class Fault(msgspec.Struct, frozen=True, gc=False):
    """Why a line of the input file was refused. Lines count from 1; None means the whole file.

    `message` says what is wrong and what would be right. `param` is the field (`custom_id`,
    `body.model`). `excerpt` is the line around the fault, shortened; `marked` says from which
    of its characters to which the fault itself reaches.
    """

    code: str
    message: str
    line: int | None = None
    param: str | None = None
    excerpt: str | None = None
    marked: tuple[int, int] | None = None


FAULTS_MAX: Final = 1_000
"""Faults collected per file; validation stops looking for more."""


MODEL_CHARACTERS_MAX: Final = 512
"""Of a model's name, all of which are printable."""


@dataclass(frozen=True, slots=True)
class LineRules:
    """What a job demands of its lines; chosen by the dialect, known below the API only as this.

    What is present is always checked; `routed` says whether `method` and `url` must be there.
    `endpoint` None (only in `overnight validate`) means: any supported one, the same on all lines.
    `model` None: each line may name its own.
    """

    endpoint: str | None
    routed: bool = False
    line_bytes_max: int = 16 * 1024 * 1024
    custom_id_bytes_max: int = 512
    requests_max: int | None = None
    model: str | None = None


class FailureKind(StrEnum):
    """How an attempt ended when it did not succeed. Values are the codes in error lines."""

    CONNECT = "upstream_unreachable"
    """No connection: refused, name not found, TLS. Nothing was sent."""
    RESET = "upstream_disconnected"
    """The connection ended before a whole reply arrived."""
    TIMEOUT = "request_timeout"
    STATUS = "upstream_error"
    """A whole reply arrived and its status is not 2xx."""
    BAD_REPLY = "invalid_upstream_reply"
    """Status 2xx, but the body is not a JSON object, or not HTTP at all."""
    TOO_LARGE = "upstream_reply_too_large"
    WORKER_LOST = "worker_lost"
    """Two workers died while this request alone was in flight."""


class Success(msgspec.Struct, frozen=True, gc=False):
    """A 2xx reply whose body is a JSON object; `body` is its bytes on one line.

    `request_id` is what the upstream called it, as a JSON string, quotes included.
    """

    status: int
    request_id: bytes | None
    body: bytes
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Failure(msgspec.Struct, frozen=True, gc=False):
    """What the upstream did instead. `status` and `body` are 0 and empty when no reply came."""

    kind: FailureKind
    detail: str
    status: int = 0
    request_id: bytes | None = None
    body: bytes = b""
    retry_after_seconds: float | None = None


Outcome = Success | Failure


class OutcomeKind(IntEnum):
    """How an outcome is filed in a segment."""

    SUCCESS = 0
    FAILURE = 1
    ALONE = 2
    """Not an outcome: this request is about to be sent with no other in flight."""
    SPARED = 3
    """Not an outcome: the request announced by ALONE did not kill its worker."""
    RETRY = 4
    """Not an outcome: the request was sent in vain and will be sent again."""
