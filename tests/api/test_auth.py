"""Who is let in."""

import asyncio
import json
from collections.abc import Mapping

import pytest
from starlette.types import Message, Receive, Scope, Send

from overnight.api.auth import Access, Authentication, Keyring

KEYED = Access(api_keys=("one", "two"), open_mode=False)


async def _inner(scope: Scope, receive: Receive, send: Send) -> None:
    tenant = scope["state"].get("tenant")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(tenant).encode()})


def ask(
    access: Access,
    headers: Mapping[str, str],
    path: str = "/v1/files",
    peer: tuple[str, int] | None = ("127.0.0.1", 5),
) -> tuple[int, object]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is read before a caller is let in")

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "path": path, "headers": raw, "client": peer, "state": {}}
    asyncio.run(Authentication(_inner, access)(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.mark.parametrize(
    "headers",
    [{"authorization": "Bearer one"}, {"authorization": "bearer  one "}, {"api-key": "one"}],
)
def test_a_right_key_opens_and_names_its_tenant(headers: dict[str, str]) -> None:
    assert ask(KEYED, headers) == (200, Keyring(["one"]).tenant_of("one"))


def test_each_key_has_a_tenant_of_its_own_that_does_not_give_the_key_away() -> None:
    ring = Keyring(["one", "two"])
    assert ring.tenant_of("one") != ring.tenant_of("two")
    assert "one" not in (ring.tenant_of("one") or "")
    assert ring.tenant_of("three") is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer three"},
        {"authorization": "Basic one"},
        {"api-key": ""},
    ],
)
def test_without_a_right_key_nobody_gets_in(headers: dict[str, str]) -> None:
    status, body = ask(KEYED, headers)
    assert status == 401
    assert isinstance(body, dict)
    assert body["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/storage/token"])
def test_probes_and_signed_links_need_no_key(path: str) -> None:
    assert ask(KEYED, {}, path) == (200, None)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8024", "localhost", "app.localhost:1", "[::1]:8024", "LOCALHOST:8024"]
)
def test_open_mode_serves_this_machine_whatever_key_it_sends(host: str) -> None:
    assert ask(Access(), {"host": host}) == (200, "local")
    assert ask(Access(), {"host": host, "authorization": "Bearer x"}) == (200, "local")
    assert ask(Access(), {"host": host, "origin": "http://localhost:3000"}) == (200, "local")


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
def test_open_mode_keeps_web_pages_out(headers: dict[str, str]) -> None:
    assert ask(Access(), headers)[0] == 403
    assert ask(Access(), headers, "/storage/token")[0] == 403


def test_open_mode_keeps_other_machines_out_unless_told() -> None:
    headers = {"host": "127.0.0.1"}
    assert ask(Access(), headers, peer=("192.0.2.1", 5))[0] == 403
    anybody = Access(loopback_only=False)
    assert ask(anybody, {"host": "batch.example"}, peer=("192.0.2.1", 5)) == (200, "local")
