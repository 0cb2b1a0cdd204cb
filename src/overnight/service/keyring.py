"""Which key is whose, as a running service knows it: a second old at most."""

import asyncio
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from overnight.domain.api_key import ApiKey, digest_of
from overnight.domain.dialect import Dialect
from overnight.domain.errors import Unauthenticated, Unavailable
from overnight.seams import Clock
from overnight.store import keys as key_rows
from overnight.store.database import Database

FRESH_SECONDS: Final = 1.0
USE_SECONDS: Final = 600.0
"""Between two notes of when a key was last used: a write for each request would cost too much."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. Only `tenant` decides what they see; the key is named for people."""

    tenant: str
    key_id: str
    key_name: str
    dialect: Dialect | None = None
    """Spoken where a request does not say."""


LOCAL: Final = Caller("local", "local", "local")
"""Everybody, where no key is needed."""


class Keyring:
    """The keys of the settings (`configured`), each a tenant of its own, and of the database.

    A key that is in both is the database's: clients and `serve` read the same variable, and
    what a tenant has must not vanish because a shell had it set.
    """

    def __init__(self, database: Database, clock: Clock, configured: Iterable[str] = ()) -> None:
        self._database = database
        self._clock = clock
        self._configured = {digest_of(key): _configured(key) for key in configured}
        self._stored: Mapping[str, ApiKey] = {}
        self._noted_at: dict[str, float] = {}
        self._read_at = -math.inf
        # Whoever comes while the first read is under way waits for it: before, it would look
        # as if there were no keys at all.
        self._reading = asyncio.Lock()

    async def refresh(self) -> None:
        """See what was created and revoked meanwhile; raises `Unavailable`."""
        async with self._reading:
            now = self._clock.monotonic()
            if now - self._read_at >= FRESH_SECONDS:
                self._stored = await self._database.read(key_rows.all)
                self._read_at = now

    @property
    def is_empty(self) -> bool:
        """Was there never a key? One that is revoked or has expired counts, so that to take
        the last one away closes the door instead of opening it."""
        return not (self._configured or self._stored)

    async def caller(self, key: str) -> Caller:
        """Raises `Unauthenticated`."""
        digest = digest_of(key)
        stored = self._stored.get(digest)
        if stored is None:
            if digest in self._configured:
                return self._configured[digest]
            raise Unauthenticated(
                "The API key is not one of this server's; "
                "`overnight keys create NAME` on the server makes one."
            )
        now = self._clock.now()
        _check_valid(stored, now)
        await self._note_use(digest, stored, now)
        return Caller(stored.tenant, stored.prefix, stored.name, stored.dialect)

    async def _note_use(self, digest: str, key: ApiKey, now: float) -> None:
        noted_at = self._noted_at.get(digest, key.last_used_at)
        if noted_at is not None and now - noted_at < USE_SECONDS:
            return
        self._noted_at[digest] = now
        # A request must not fail for a note about it.
        with suppress(Unavailable):
            await self._database.write(lambda tx: key_rows.mark_used(tx, digest, now))


def _configured(key: str) -> Caller:
    name = f"key-{digest_of(key)[:12]}"
    return Caller(tenant=name, key_id=name, key_name=name)


def _check_valid(key: ApiKey, now: float) -> None:
    """Says which key it is: whoever sends it has had it."""
    if key.revoked_at is not None:
        raise Unauthenticated(
            f"The API key '{key.name}' was revoked at {_utc(key.revoked_at)}; ask for another."
        )
    if key.expires_at is not None and key.expires_at <= now:
        raise Unauthenticated(
            f"The API key '{key.name}' expired at {_utc(key.expires_at)}; ask for another."
        )


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
