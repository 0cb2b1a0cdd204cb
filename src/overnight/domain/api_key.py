"""An API key: what is kept of it, which is not the key."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from overnight.domain.dialect import Dialect

KEY_PREFIX: Final = "on-"
"""Tells people, and scanners for leaked secrets, whose key it is."""
KEY_DIGITS: Final = 64
"""Random hex digits after it: 256 bits."""

_SHOWN_DIGITS: Final = 8


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Times are unix seconds. Once revoked it stays known, so that its user can be told."""

    name: str
    tenant: str
    """Whose files and jobs it shows."""
    prefix: str
    """How the key begins: enough to recognise it, too little to guess the rest."""
    dialect: Dialect | None
    """Spoken where a request does not say."""
    created_at: float
    expires_at: float | None = None
    last_used_at: float | None = None
    """To within ten minutes."""
    revoked_at: float | None = None


def shown_prefix(key: str) -> str:
    return key[: len(KEY_PREFIX) + _SHOWN_DIGITS]


def digest_of(key: str) -> str:
    """SHA-256 in hex, all of a key that is ever stored.

    A slow hash makes guessing what people have chosen expensive. Nobody guesses 256 random bits
    at any speed, and every request would pay for the hash. For the same reason digests may be
    looked up in a table: how long that takes tells something of a digest at most, never of a key.
    """
    return sha256(key.encode()).hexdigest()
