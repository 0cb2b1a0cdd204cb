"""Signed links: the right to put the bytes of one file, for a while, carried by a URL alone.

The clients of the Together API send these PUTs without their key, so the link itself has to be
unguessable. A link reads `<file id>.<expiry>.<promised sha256 or ->.<signature>`.
"""

import hmac
from dataclasses import dataclass
from typing import Final

from overnight.domain.errors import Forbidden

_PURPOSE: Final = b"overnight upload link 1\n"
"""Signed along, so that the same secret may sign other things without being mistaken for this."""


@dataclass(frozen=True, slots=True)
class UploadLink:
    """`expires_at` is in whole unix seconds; `checksum` is the sha256 the client promised."""

    file_id: str
    expires_at: int
    checksum: str | None

    def sign(self, secret: bytes) -> str:
        """The link as text that is safe in a URL path."""
        content = f"{self.file_id}.{self.expires_at}.{self.checksum or '-'}"
        return f"{content}.{_signature(content, secret)}"

    @classmethod
    def read(cls, token: str, secret: bytes, now: float) -> "UploadLink":
        """Raises `Forbidden` for a token we did not sign, and for one past its time."""
        content, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), _signature(content, secret).encode()):
            raise Forbidden("This is not an upload link of this server.", code="invalid_link")
        file_id, expires_at, checksum = content.split(".")
        link = cls(file_id, int(expires_at), None if checksum == "-" else checksum)
        if link.expires_at <= now:
            raise Forbidden(
                "This upload link is no longer valid; start the upload again.", code="link_expired"
            )
        return link


def _signature(content: str, secret: bytes) -> str:
    return hmac.new(secret, _PURPOSE + content.encode(), "sha256").hexdigest()
