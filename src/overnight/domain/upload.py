"""An upload in parts: a file that arrives in pieces and is joined from them at the end."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_ID_PREFIX: Final = "upload_"


class UploadStatus(StrEnum):
    PENDING = "pending"
    """Parts may come."""
    JOINING = "joining"
    """Its order is settled and no part is taken any more; only finishing is left."""
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Upload:
    """`bytes` is what the file will have; `file_id` is the id it will have.

    With `parts_max` the parts are numbered from 1 to it and a number may be sent again; without
    it they are ordered at the end. `checksum` is the sha256 (hex) the client promised.
    `lifetime_seconds` is the file's own, from its creation. `part_ids` and `sha256` are of the
    file as it is joined, from JOINING on. Of numbered parts the first `joined` are joined before
    that already, or are just being, and stay what they are.
    """

    id: str
    tenant: str
    file_id: str
    name: str
    purpose: str
    bytes: int
    created_at: float
    expires_at: float
    parts_max: int | None = None
    checksum: str | None = None
    lifetime_seconds: int | None = None
    status: UploadStatus = UploadStatus.PENDING
    joined: int = 0
    part_ids: tuple[str, ...] = ()
    sha256: str | None = None

    def status_at(self, now: float) -> UploadStatus:
        """An upload is over at its time, not when somebody gets round to writing that down."""
        if self.status is UploadStatus.PENDING and self.expires_at <= now:
            return UploadStatus.EXPIRED
        return self.status


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes that have arrived. `number` None: its place is told at the end."""

    id: str
    upload_id: str
    bytes: int
    sha256: str
    created_at: float
    number: int | None = None


def upload_id(token: str) -> str:
    return _ID_PREFIX + token


def is_upload_id(name: str) -> bool:
    return name.startswith(_ID_PREFIX) and name[len(_ID_PREFIX) :].isalnum()
