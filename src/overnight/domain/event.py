"""What webhooks tell of: that a job has ended, and how."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType
from typing import Final

import msgspec

from overnight.domain.job import JobStatus


class EventType(StrEnum):
    """As OpenAI spells them; its SDKs know classes for these and parse others into any."""

    COMPLETED = "batch.completed"
    FAILED = "batch.failed"
    EXPIRED = "batch.expired"
    CANCELLED = "batch.cancelled"


EVENT_OF_END: Final[Mapping[JobStatus, EventType]] = MappingProxyType(
    {
        JobStatus.COMPLETED: EventType.COMPLETED,
        JobStatus.FAILED: EventType.FAILED,
        JobStatus.EXPIRED: EventType.EXPIRED,
        JobStatus.CANCELLED: EventType.CANCELLED,
    }
)
"""Every terminal status, and no other."""


@dataclass(frozen=True, slots=True)
class Event:
    """`created_at` is when the job ended, in unix seconds."""

    id: str
    type: EventType
    job_id: str
    created_at: float

    @classmethod
    def of_end(cls, job_id: str, status: JobStatus, at: float) -> "Event":
        """A job ends once, so its event can be named after it."""
        return cls(f"evt_{job_id.rpartition('_')[2]}", EVENT_OF_END[status], job_id, at)

    def body(self) -> bytes:
        """The JSON that is sent, as OpenAI spells it."""
        return msgspec.json.encode(
            {
                "id": self.id,
                "object": "event",
                "created_at": int(self.created_at),
                "type": self.type,
                "data": {"id": self.job_id},
            }
        )

    def delivery_id(self, endpoint_id: str) -> str:
        """Receivers tell a repetition by it, so it is the same in every attempt."""
        return f"wh_{sha256(f'{self.id} {endpoint_id}'.encode()).hexdigest()[:32]}"
