"""Who is let in."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from overnight.api.auth import Authentication
from overnight.domain.dialect import Dialect
from overnight.seams import Seams
from overnight.service.keyring import FRESH_SECONDS, USE_SECONDS, Caller, Keyring
from overnight.service.keys import Keys, NewKey
from overnight.store import keys as key_rows
from overnight.store.database import Database
from support.service_world import FailingDatabase
from support.store import Store
from support.virtual_time import InlineThreads, VirtualClock, YieldingThreads, run_virtual

LOCALHOST = {"host": "127.0.0.1"}


async def _inner(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"null"})


@dataclass
class Door:
    """The layer in front of an application that answers 200, and a way to make keys."""

    database: Database
    keys: Keys
    configured: tuple[str, ...] = ()
    loopback_only: bool = True

    def __post_init__(self) -> None:
        keyring = Keyring(self.database, VirtualClock(), self.configured)
        self._layer = Authentication(_inner, keyring, loopback_only=self.loopback_only)
        self.caller: Caller | None = None
        self.reply_headers: dict[str, str] = {}
        self.message = ""

    async def ask(
        self,
        headers: Mapping[str, str] | str,
        path: str = "/v1/files",
        peer: tuple[str, int] | None = ("127.0.0.1", 5),
    ) -> int:
        """The status; `headers` may be just a key."""
        if isinstance(headers, str):
            headers = {"authorization": f"Bearer {headers}"}
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            raise AssertionError("nothing is read before a caller is let in")

        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "path": path, "headers": raw, "client": peer, "state": {}}
        await self._layer(scope, receive, send)
        self.caller = scope["state"].get("caller")
        assert scope["state"].get("tenant") == (self.caller.tenant if self.caller else None)
        self.reply_headers = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        body = json.loads(sent[1]["body"])
        self.message = body["error"]["message"] if body else ""
        if body and sent[0]["status"] == 401:
            assert body["error"]["code"] == "invalid_api_key"
        return int(sent[0]["status"])

    def asked(self, headers: Mapping[str, str] | str, *where: Any) -> int:
        return run_virtual(self.ask(headers, *where))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "db")
    yield opened
    opened.close()


def door(store: Store, *configured: str, loopback_only: bool = True) -> Door:
    database = Database(store.path, InlineThreads(""))
    keys = Keys(Database(store.path, InlineThreads("")), Seams(VirtualClock()))
    return Door(database, keys, configured, loopback_only)


# Keys of the settings


@pytest.mark.parametrize(
    "headers",
    [{"authorization": "Bearer one"}, {"authorization": "bearer  one "}, {"api-key": "one"}],
)
def test_a_configured_key_opens_and_names_its_tenant(store: Store, headers: dict[str, str]) -> None:
    keyed = door(store, "one", "two")
    assert keyed.asked(headers) == 200
    # As it always was: jobs of earlier versions belong to it.
    assert keyed.caller is not None
    assert keyed.caller.tenant == "key-7692c3ad3540"


def test_each_configured_key_has_a_tenant_of_its_own(store: Store) -> None:
    keyed = door(store, "one", "two")
    tenants = {keyed.asked(key) and keyed.caller and keyed.caller.tenant for key in ("one", "two")}
    assert len(tenants) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer three"},
        {"authorization": "Basic one"},
        {"api-key": ""},
    ],
    ids=str,
)
def test_without_a_right_key_nobody_gets_in(store: Store, headers: dict[str, str]) -> None:
    keyed = door(store, "one", "two")
    assert keyed.asked(LOCALHOST | headers) == 401
    assert keyed.reply_headers["www-authenticate"] == "Bearer"
    assert "overnight keys create" in keyed.message
    assert "three" not in keyed.message


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/storage/token"])
def test_probes_and_signed_links_need_no_key(store: Store, path: str) -> None:
    keyed = door(store, "one")
    assert keyed.asked({}, path) == 200
    assert keyed.caller is None


# Keys of the database


def test_a_created_key_opens_at_once_what_was_open_for_all(store: Store) -> None:
    async def scenario() -> None:
        gate = door(store)
        assert await gate.ask(LOCALHOST) == 200
        wish = NewKey("alice", "research", Dialect.TOGETHER)
        secret, key = await gate.keys.create(wish)
        await asyncio.sleep(FRESH_SECONDS)
        assert await gate.ask(LOCALHOST) == 401
        assert await gate.ask(secret) == 200
        assert gate.caller == Caller("research", key.prefix, "alice", Dialect.TOGETHER)
        assert await gate.ask({"api-key": secret}) == 200

    run_virtual(scenario())


def test_a_created_key_stays_what_it_is_when_the_settings_have_it_too(store: Store) -> None:
    async def scenario() -> None:
        secret, _ = await door(store).keys.create(NewKey("alice", "research"))
        gate = door(store, secret)
        assert await gate.ask(secret) == 200
        assert gate.caller is not None
        assert gate.caller.tenant == "research"
        await gate.keys.revoke("alice")
        await asyncio.sleep(FRESH_SECONDS)
        assert await gate.ask(secret) == 401

    run_virtual(scenario())


def test_a_service_that_had_a_key_is_never_open_again(store: Store) -> None:
    async def scenario() -> None:
        gate = door(store)
        secret, _ = await gate.keys.create(NewKey("alice"))
        assert await gate.ask(secret) == 200
        await gate.keys.revoke("alice")
        await asyncio.sleep(FRESH_SECONDS)
        assert await gate.ask(secret) == 401
        assert "'alice' was revoked at 2023-11-14T22:13:20Z" in gate.message
        assert await gate.ask(LOCALHOST) == 401
        assert await door(store).ask(LOCALHOST) == 401

    run_virtual(scenario())


def test_a_key_ends_when_it_was_to_end(store: Store) -> None:
    async def scenario() -> None:
        gate = door(store)
        secret, _ = await gate.keys.create(NewKey("alice", lifetime_seconds=60))
        await asyncio.sleep(59.9)
        assert await gate.ask(secret) == 200
        await asyncio.sleep(0.1)
        assert await gate.ask(secret) == 401
        assert "'alice' expired at 2023-11-14T22:14:20Z" in gate.message

    run_virtual(scenario())


def test_the_digest_alone_opens_nothing_and_is_all_that_is_stored(store: Store) -> None:
    async def scenario() -> None:
        gate = door(store)
        secret, key = await gate.keys.create(NewKey("alice"))
        (row,) = store.rows("SELECT * FROM api_keys")
        assert secret not in str(row)
        assert secret.startswith(key.prefix)
        assert len(key.prefix) < len(secret) / 4
        assert await gate.ask(row.digest) == 401
        assert await gate.ask(key.prefix) == 401

    run_virtual(scenario())


def test_the_last_use_is_noted_now_and_then(store: Store) -> None:
    async def scenario() -> None:
        gate = door(store)
        secret, _ = await gate.keys.create(NewKey("alice"))
        noted = set()
        for _ in range(5):
            assert await gate.ask(secret) == 200
            (key,) = store.do(key_rows.all).values()
            noted.add(key.last_used_at)
            await asyncio.sleep(USE_SECONDS / 4)
        assert noted == {1_700_000_000.0, 1_700_000_000.0 + USE_SECONDS}

    run_virtual(scenario())


def test_nobody_slips_in_while_the_first_look_is_under_way(store: Store) -> None:
    async def scenario() -> None:
        await door(store).keys.create(NewKey("alice"))
        gate = Door(Database(store.path, YieldingThreads("")), door(store).keys)
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(gate.ask(LOCALHOST)) for _ in range(3)]
        assert {task.result() for task in asked} == {401}

    run_virtual(scenario())


def test_a_database_that_can_not_serve_lets_nobody_in(store: Store) -> None:
    async def scenario() -> None:
        database = FailingDatabase(store.path, InlineThreads(""))
        gate = Door(database, door(store).keys)
        database.down = True
        assert await gate.ask(LOCALHOST) == 503
        database.down = False
        assert await gate.ask(LOCALHOST) == 200

    run_virtual(scenario())


def test_a_note_that_fails_fails_no_request(store: Store) -> None:
    async def scenario() -> None:
        database = FailingDatabase(store.path, InlineThreads(""))
        gate = Door(database, door(store).keys)
        secret, _ = await gate.keys.create(NewKey("alice"))
        database.writes_left = 0
        assert await gate.ask(secret) == 200

    run_virtual(scenario())


# Open mode


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8024", "localhost", "app.localhost:1", "[::1]:8024", "LOCALHOST:8024"]
)
def test_open_mode_serves_this_machine_whatever_key_it_sends(store: Store, host: str) -> None:
    gate = door(store)
    for more in ({}, {"authorization": "Bearer x"}, {"origin": "http://localhost:3000"}):
        assert gate.asked({"host": host} | more) == 200
        assert gate.caller is not None
        assert gate.caller.tenant == "local"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost@evil.example"},
        {"host": "[::1"},
        {"host": "127.0.0.1", "origin": "https://evil.example"},
        {"host": "127.0.0.1", "origin": "null"},
    ],
    ids=str,
)
def test_open_mode_keeps_web_pages_out(store: Store, headers: dict[str, str]) -> None:
    gate = door(store)
    assert gate.asked(headers) == 403
    assert gate.asked(headers, "/storage/token") == 403


def test_open_mode_keeps_other_machines_out_unless_told(store: Store) -> None:
    stranger = ("/v1/files", ("192.0.2.1", 5))
    assert door(store).asked(LOCALHOST, *stranger) == 403
    anybody = door(store, loopback_only=False)
    assert anybody.asked({"host": "batch.example"}, *stranger) == 200
