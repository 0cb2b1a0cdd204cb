"""What the client raises. A message says which server and what it answered; a hint, what to try."""


class ClientError(Exception):
    """Any failure; `hint` is a sentence about what to do, where there is one."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Unreachable(ClientError):
    """No answer: refused, cut, timed out, no such host, or TLS that can not be trusted."""


class Refused(ClientError):
    """The server answered with an error. `code` and `request_id` are as it told them."""

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        *,
        status: int,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.code = code
        self.request_id = request_id


class BadReply(ClientError):
    """The answer is not what a batch API says: HTML, or a job without an id or a status."""
