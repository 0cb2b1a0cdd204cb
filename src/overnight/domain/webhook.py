"""A webhook: where a tenant wants to be told of events, and what became of telling it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from overnight.domain.event import Event, EventType

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  what every secret begins with
_HINT_CHARACTERS: Final = 4

_BACKOFF_FIRST_SECONDS: Final = 5.0
_BACKOFF_MAX_SECONDS: Final = 4 * 3_600.0


@dataclass(frozen=True, slots=True)
class OldSecret:
    """One that was replaced, and until when (unix seconds) it signs beside its successor."""

    secret: str
    until: float


@dataclass(frozen=True, slots=True)
class Webhook:
    """An endpoint of a tenant's. Times are unix seconds."""

    id: str
    tenant: str
    name: str
    url: str
    event_types: tuple[EventType, ...]
    secret: str
    created_at: float
    updated_at: float
    old_secrets: tuple[OldSecret, ...] = ()

    @property
    def secret_hint(self) -> str:
        """Enough to tell it from another."""
        return f"{SECRET_PREFIX}…{self.secret[-_HINT_CHARACTERS:]}"

    def secrets_at(self, now: float) -> list[str]:
        """What signs, the newest first: receivers may not have changed theirs yet."""
        return [self.secret, *(old.secret for old in self.old_secrets if old.until > now)]


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one webhook, and its last attempt. Times are unix seconds."""

    id: str
    webhook_id: str
    event: Event
    attempts: int = 0
    next_at: float | None = None
    """When it is tried again; None once it has ended."""
    last_at: float | None = None
    last_status: int | None = None
    """What the receiver answered, if it did."""
    last_error: str | None = None
    delivered_at: float | None = None

    @property
    def status(self) -> DeliveryStatus:
        if self.delivered_at is not None:
            return DeliveryStatus.DELIVERED
        return DeliveryStatus.GIVEN_UP if self.next_at is None else DeliveryStatus.PENDING


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of sending it once: a status, or in a few words why there is none."""

    status: int | None = None
    error: str | None = None
    retry_after_seconds: float = 0.0

    @property
    def acknowledged(self) -> bool:
        """Any 2xx. A redirect is none: it is not followed, for who it names was not checked."""
        return self.status is not None and 200 <= self.status < 300


def retry_delay_seconds(attempts: int, jitter: float) -> float:
    """From 5 s doubling to 4 h, of which `jitter` in [0, 1) takes up to half.

    `attempts` counts those made, so it is at least 1.
    """
    # Beyond the limit only the exponent would grow, without end.
    delay = min(_BACKOFF_FIRST_SECONDS * 2.0 ** min(attempts - 1, 32), _BACKOFF_MAX_SECONDS)
    return delay * (1.0 - jitter / 2)
