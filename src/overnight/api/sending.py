"""How the creation of a batch came, as its headers tell: anew, or once more.

SDKs send a create again when its answer was lost. The newer ones count that in a header of their
own; whoever wants to be sure gives the request an `Idempotency-Key`.
"""

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request

from overnight.service.keyring import Caller
from overnight.service.submission import Sending, Submitted

KEY_HEADER: Final = "idempotency-key"
RETRIES_HEADER: Final = "x-stainless-retry-count"

_REPEATED: Final = {"idempotent-replayed": "true"}


def sending_of(request: Request) -> Sending:
    caller: Caller = request.state.caller
    retries = request.headers.get(RETRIES_HEADER, "")
    return Sending(
        sender=caller.key_id,
        idempotency_key=request.headers.get(KEY_HEADER),
        resent=retries.isascii() and retries.isdigit() and int(retries[:9]) > 0,
    )


def replay_headers(submitted: Submitted) -> Mapping[str, str]:
    """Says of an answer that it was given before."""
    return _REPEATED if submitted.repeated else {}
