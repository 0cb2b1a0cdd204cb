"""Keys are made once, and revoked by whatever one has of them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from overnight.domain.errors import Conflict, InvalidRequest, NotFound
from overnight.seams import Seams, SystemChance
from overnight.service.keys import Keys, NewKey
from overnight.store.database import Database
from overnight.store.migrate import migrate
from support.virtual_time import InlineThreads


class _AlikeChance(SystemChance):
    """Every key begins with the same digits."""

    def token(self, digits: int) -> str:
        return "0" * 8 + super().token(digits - 8)


@contextmanager
def keys_of(folder: Path, seams: Seams | None = None) -> Iterator[Keys]:
    migrate(folder / "db")
    database = Database(folder / "db", InlineThreads(""))
    yield Keys(database, seams or Seams())
    asyncio.run(database.close())


def test_no_two_keys_have_one_name_but_as_often_as_it_is_revoked(tmp_path: Path) -> None:
    async def scenario(keys: Keys) -> None:
        for _ in range(3):
            await keys.create(NewKey("a"))
            with pytest.raises(Conflict, match="a key 'a' already"):
                await keys.create(NewKey("a"))
            await keys.revoke("a")
        assert len({key.prefix for key in await keys.list()}) == 3

    with keys_of(tmp_path) as keys:
        asyncio.run(scenario(keys))


def test_of_keys_that_begin_alike_none_is_taken_by_chance(tmp_path: Path) -> None:
    async def scenario(keys: Keys) -> None:
        _, first = await keys.create(NewKey("a"))
        # Called as keys begin: then it is the name that counts.
        _, second = await keys.create(NewKey(first.prefix))
        _, third = await keys.create(NewKey("c"))
        assert first.prefix == second.prefix == third.prefix
        assert (await keys.revoke(first.prefix)).name == first.prefix
        with pytest.raises(InvalidRequest, match="name one of: a, c"):
            await keys.revoke(first.prefix)
        assert (await keys.revoke("c")).name == "c"
        assert (await keys.revoke(first.prefix)).name == "a"
        with pytest.raises(NotFound):
            await keys.revoke(first.prefix)

    with keys_of(tmp_path, Seams(chance=_AlikeChance())) as keys:
        asyncio.run(scenario(keys))


@pytest.mark.parametrize("word", ["", "on-", "on-0", "o"])
def test_a_beginning_shorter_than_what_is_listed_revokes_nothing(tmp_path: Path, word: str) -> None:
    async def scenario(keys: Keys) -> None:
        await keys.create(NewKey("a"))
        with pytest.raises(NotFound):
            await keys.revoke(word)

    with keys_of(tmp_path, Seams(chance=_AlikeChance())) as keys:
        asyncio.run(scenario(keys))
