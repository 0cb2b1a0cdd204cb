"""Signed links: the right to put the bytes of one file, for a while, carried by a URL alone.

The clients of the Together API send these PUTs without their key, so the link itself has to be
unguessable. A link reads `<file id>.<expiry>.<promised sha256 or ->.<signature>`, one for a part of
an upload `<upload id>.<expiry>.<part number>.<signature>`.
"""

import hmac
from dataclasses import dataclass
from typing import Final

from overnight.domain.errors import Forbidden

_FILE: Final = b"overnight upload link 1\n"
_PART: Final = b"overnight part link 1\n"
"""Signed along, so that what the same secret signs for one purpose is never taken for another."""


@dataclass(frozen=True, slots=True)
class UploadLink:
    """`expires_at` is in whole unix seconds; `checksum` is the sha256 the client promised."""

    file_id: str
    expires_at: int
    checksum: str | None

    def sign(self, secret: bytes) -> str:
        """The link as text that is safe in a URL path."""
        return _sign(_FILE, f"{self.file_id}.{self.expires_at}.{self.checksum or '-'}", secret)

    @classmethod
    def read(cls, token: str, secret: bytes, now: float) -> "UploadLink":
        """Raises `Forbidden` for a token we did not sign, and for one past its time."""
        file_id, expires_at, checksum = _read(_FILE, token, secret, now)
        return cls(file_id, expires_at, None if checksum == "-" else checksum)


@dataclass(frozen=True, slots=True)
class PartLink:
    """The right to put one part; `number` counts from 1."""

    upload_id: str
    expires_at: int
    number: int

    def sign(self, secret: bytes) -> str:
        """The link as text that is safe in a URL path."""
        return _sign(_PART, f"{self.upload_id}.{self.expires_at}.{self.number}", secret)

    @classmethod
    def read(cls, token: str, secret: bytes, now: float) -> "PartLink":
        """Raises `Forbidden` as `UploadLink.read` does."""
        upload_id, expires_at, number = _read(_PART, token, secret, now)
        return cls(upload_id, expires_at, int(number))


def _sign(purpose: bytes, content: str, secret: bytes) -> str:
    return f"{content}.{_signature(purpose, content, secret)}"


def _read(purpose: bytes, token: str, secret: bytes, now: float) -> tuple[str, int, str]:
    content, _, signature = token.rpartition(".")
    expected = _signature(purpose, content, secret)
    if not hmac.compare_digest(signature.encode(), expected.encode()):
        raise Forbidden("This is not an upload link of this server.", code="invalid_link")
    whose, expires_at, rest = content.split(".")
    if int(expires_at) <= now:
        raise Forbidden(
            "This upload link is no longer valid; start the upload again.", code="link_expired"
        )
    return whose, int(expires_at), rest


def _signature(purpose: bytes, content: str, secret: bytes) -> str:
    return hmac.new(secret, purpose + content.encode(), "sha256").hexdigest()
