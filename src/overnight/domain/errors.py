"""What can go wrong on our side, as one tree.

    OvernightError
    ├ CallerFault        told to the caller as it is
    │   ├ InvalidRequest     a parameter is wrong; `param` names it
    │   ├ Unauthenticated    no key, or a wrong one
    │   ├ Forbidden          the key is right, the action is not allowed
    │   ├ NotFound           no such object, or it is somebody else's
    │   ├ Conflict           the object is in a state that forbids this
    │   └ LimitExceeded      a configured limit; names it
    ├ ConfigurationError the operator's settings can not work (exit code 2)
    ├ Unavailable        disk or database can not serve right now; retryable
    ├ Corrupt            stored bytes are not what was written: never retried, never served
    └ Interruption       control flow between loops, never shown
        └ LeaseLost          this worker was declared dead

What an upstream did is not an error of ours and is no exception: see `request.Failure`.
A faulty input line is a `request.Fault`, collected and reported with the job.
"""


class OvernightError(Exception):
    """Root of the tree; `code` is stable and appears on the wire."""

    code = "internal_error"


class CallerFault(OvernightError):
    """The caller can mend it. `param` names the field, `code` is for programs."""

    code = "invalid_request"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or type(self).code


class InvalidRequest(CallerFault):
    code = "invalid_value"


class Unauthenticated(CallerFault):
    code = "invalid_api_key"


class Forbidden(CallerFault):
    code = "forbidden"


class NotFound(CallerFault):
    code = "not_found"


class Conflict(CallerFault):
    code = "conflict"


class LimitExceeded(CallerFault):
    code = "limit_exceeded"


class ConfigurationError(OvernightError):
    code = "configuration_error"


class Unavailable(OvernightError):
    code = "unavailable"


class Corrupt(OvernightError):
    code = "corrupt"


class Interruption(OvernightError):
    code = "interrupted"


class LeaseLost(Interruption):
    code = "lease_lost"
