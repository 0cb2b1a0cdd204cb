"""Uploads in parts as each dialect spells them, and what their clients send. Pure."""

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from overnight.api import openai_shapes, together_shapes
from overnight.api.bodies import Body, ExpiresAfter
from overnight.domain.file import StoredFile
from overnight.domain.upload import Part, Upload, UploadStatus

Spelt = Literal["pending", "completed", "cancelled", "expired"]

STATUS: Final[Mapping[UploadStatus, Spelt]] = {
    UploadStatus.PENDING: "pending",
    UploadStatus.JOINING: "pending",
    UploadStatus.COMPLETED: "completed",
    UploadStatus.CANCELLED: "cancelled",
    UploadStatus.EXPIRED: "expired",
}


class CreateUpload(Body):
    bytes: int = Field(ge=0)
    filename: str
    purpose: str
    mime_type: str | None = None
    expires_after: ExpiresAfter | None = None


class CompleteUpload(Body):
    part_ids: list[str]
    md5: str | None = None


class InitiateMultipart(Body):
    file_name: str
    file_size: int = Field(ge=0)
    num_parts: int = Field(ge=1)
    purpose: str
    checksum: str | None = None


class NamedMultipart(Body):
    upload_id: str
    file_id: str


class PutPart(Body):
    part_number: int
    etag: str


class CompleteMultipart(NamedMultipart):
    parts: list[PutPart]


class UploadObject(TypedDict):
    id: str
    object: Literal["upload"]
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Spelt
    file: openai_shapes.FileObject | None


class PartObject(TypedDict):
    id: str
    object: Literal["upload.part"]
    created_at: int
    upload_id: str


class PartPlace(TypedDict):
    """Together's clients read these names, and send `Headers` with the part."""

    PartNumber: int
    URL: str
    Headers: dict[str, str]


class MultipartPlaces(TypedDict):
    upload_id: str
    file_id: str
    parts: list[PartPlace]


class CompletedMultipart(TypedDict):
    file: together_shapes.FileObject


class AbortedMultipart(TypedDict):
    upload_id: str
    file_id: str
    aborted: Literal[True]


def upload_object(upload: Upload, file: StoredFile | None) -> UploadObject:
    return {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.bytes,
        "created_at": int(upload.created_at),
        "expires_at": int(upload.expires_at),
        "filename": upload.name,
        "purpose": upload.purpose,
        "status": STATUS[upload.status],
        "file": None if file is None else openai_shapes.file_object(file),
    }


def part_object(part: Part) -> PartObject:
    return {
        "id": part.id,
        "object": "upload.part",
        "created_at": int(part.created_at),
        "upload_id": part.upload_id,
    }
