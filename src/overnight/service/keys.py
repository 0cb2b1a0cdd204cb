"""Keys: made, listed and revoked on the data folder, whether a service runs on it or not."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from overnight.domain.api_key import KEY_DIGITS, KEY_PREFIX, ApiKey, digest_of, shown_prefix
from overnight.domain.dialect import Dialect
from overnight.domain.errors import InvalidRequest, NotFound
from overnight.seams import Seams
from overnight.store import keys as key_rows
from overnight.store.database import Database

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")

LIFETIME_SECONDS_MAX: Final = 100 * 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class NewKey:
    """A wish for a key. Without a tenant it gets one of its own, called like the key."""

    name: str
    tenant: str | None = None
    dialect: Dialect | None = None
    lifetime_seconds: float | None = None

    def check(self) -> None:
        """Raises `InvalidRequest`."""
        for param, value in (("name", self.name), ("tenant", self.tenant)):
            if value is not None and not _NAME.fullmatch(value):
                raise InvalidRequest(
                    f"'{value[:80]}' can not be the {param} of a key; it should be 1 to 64 of "
                    "A-Z a-z 0-9 . _ @ + - and begin with a letter or digit.",
                    param=param,
                )
        if self.lifetime_seconds is not None and self.lifetime_seconds > LIFETIME_SECONDS_MAX:
            raise InvalidRequest(
                "A key can not be valid for more than 100 years; leave its end out instead.",
                param="expires",
            )


class Keys:
    """Every method raises `Unavailable` and `Corrupt` as `Database` does."""

    def __init__(self, database: Database, seams: Seams) -> None:
        self._database = database
        self._clock = seams.clock
        self._chance = seams.chance

    async def create(self, wish: NewKey) -> tuple[str, ApiKey]:
        """The key, which nobody can ask for again, and what is kept of it.

        Raises `InvalidRequest`, and `Conflict` when the name is taken.
        """
        wish.check()
        secret = KEY_PREFIX + self._chance.token(KEY_DIGITS)
        now = self._clock.now()
        lifetime = wish.lifetime_seconds
        key = ApiKey(
            name=wish.name,
            tenant=wish.tenant or wish.name,
            prefix=shown_prefix(secret),
            dialect=wish.dialect,
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
        )
        await self._database.write(lambda tx: key_rows.add(tx, digest_of(secret), key))
        return secret, key

    async def list(self) -> list[ApiKey]:
        """The newest first, the revoked among them."""
        return [*(await self._database.read(key_rows.all)).values()]

    async def revoke(self, word: str) -> ApiKey:
        """By the key's name, its prefix, or the key itself, as when it was found somewhere.

        Raises `NotFound`, and `InvalidRequest` when several begin alike.
        """
        now = self._clock.now()

        def revoke(tx: Connection) -> ApiKey:
            digest = _digest_meant(key_rows.all(tx), word)
            key_rows.revoke(tx, digest, now)
            return key_rows.all(tx)[digest]

        return await self._database.write(revoke)


def _digest_meant(keys: Mapping[str, ApiKey], word: str) -> str:
    valid = {digest: key for digest, key in keys.items() if key.revoked_at is None}
    named = [digest for digest, key in valid.items() if key.name == word]
    found = named or [digest for digest, key in valid.items() if word.startswith(key.prefix)]
    # What was asked for may be a whole key: never repeat more of it than is listed.
    shown = shown_prefix(word) if word.startswith(KEY_PREFIX) else word[:80]
    if not found:
        raise NotFound(
            f"There is no key '{shown}' to revoke; `overnight keys list` shows those there are."
        )
    if len(found) > 1:
        names = ", ".join(sorted(valid[digest].name for digest in found))
        raise InvalidRequest(f"Several keys begin with '{shown}'; name one of: {names}.")
    return found[0]
