"""The routes of webhooks, as openai 3.x asks for them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook as Verifier

from overnight.domain.event import Event, EventType
from overnight.domain.job import JobStatus
from overnight.service.webhooks.courier import CourierOptions
from overnight.store import webhooks as rows
from support.api_server import TOGETHER, ApiServer, Reply
from support.hook_receiver import hook_receiver

ENDPOINTS = "/v1/webhook_endpoints"
ALL = [kind.value for kind in EventType]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(tmp_path, courier=CourierOptions(allow_private=True)) as running:
        yield running


def create(server: ApiServer, **changes: object) -> Reply:
    wish = {"name": "n", "url": "http://127.0.0.1:9/hook", "event_types": ALL}
    return server.post_json(ENDPOINTS, wish | changes)


def test_create_shows_the_secret_once(server: ApiServer) -> None:
    made = create(server)
    assert made.status == 200
    body = made.json()
    assert isinstance(body, dict)
    secret = body.pop("signing_secret")
    assert secret.startswith("whsec_")
    assert len(secret) > 40
    assert body["object"] == "webhook_endpoint"
    assert body["event_types"] == ALL
    assert body["signing_secret_hint"].endswith(secret[-4:])
    assert isinstance(body["created_at"], int)
    assert body["created_at"] == body["updated_at"]
    read = server.ask("GET", f"{ENDPOINTS}/{body['id']}")
    assert read.json() == body
    assert secret.encode() not in server.ask("GET", ENDPOINTS).body


@pytest.mark.parametrize(
    ("changes", "param", "said"),
    [
        ({"url": "gopher://a"}, "url", "https://"),
        ({"url": 7}, "url", "url"),
        ({"name": " "}, "name", "1 to 256"),
        ({"name": None}, "name", "name"),
        ({"event_types": []}, "event_types", "batch.completed"),
        ({"event_types": ["response.completed"]}, "event_types", "response.completed"),
        ({"event_types": "batch.failed"}, "event_types", "event_types"),
    ],
)
def test_what_is_wrong_is_named(
    server: ApiServer, changes: dict[str, object], param: str, said: str
) -> None:
    refused = create(server, **changes)
    assert (refused.status, refused.at("error", "param")) == (400, param)
    assert said in str(refused.at("error", "message"))
    assert server.ask("GET", ENDPOINTS).at("data") == []


def test_private_addresses_need_a_setting(tmp_path: Path) -> None:
    with ApiServer(tmp_path) as server:
        for url in ("https://127.0.0.1/", "http://hook.example/"):
            refused = create(server, url=url)
            assert (refused.status, refused.at("error", "param")) == (400, "url")
            assert "webhooks.allow_private" in str(refused.at("error", "message"))
        assert create(server, url="https://hook.example/").status == 200


def test_there_may_be_twenty(server: ApiServer) -> None:
    for _ in range(20):
        assert create(server).status == 200
    refused = create(server)
    assert (refused.status, refused.at("error", "code")) == (400, "limit_exceeded")
    assert "webhooks.endpoints_max" in str(refused.at("error", "message"))
    page = server.ask("GET", f"{ENDPOINTS}?limit=15")
    assert (len(page.json()["data"]), page.at("has_more")) == (15, True)  # type: ignore[index]
    rest = server.ask("GET", f"{ENDPOINTS}?limit=15&after={page.at('last_id')}")
    assert (len(rest.json()["data"]), rest.at("has_more")) == (5, False)  # type: ignore[index]
    server.ask("DELETE", f"{ENDPOINTS}/{page.at('first_id')}")
    assert create(server).status == 200


def test_update_changes_what_is_given(server: ApiServer) -> None:
    path = f"{ENDPOINTS}/{create(server).at('id')}"
    changed = server.post_json(path, {"event_types": ["batch.failed", "batch.failed"]})
    assert changed.at("event_types") == ["batch.failed"]
    assert changed.at("name") == "n"
    assert "signing_secret" not in str(changed.json()).replace("signing_secret_hint", "")
    assert server.post_json(path, {"url": "nowhere"}).status == 400
    assert server.ask("GET", path).json() == changed.json()


def test_delete(server: ApiServer) -> None:
    path = f"{ENDPOINTS}/{create(server).at('id')}"
    deleted = server.ask("DELETE", path)
    assert (deleted.at("object"), deleted.at("deleted")) == ("webhook_endpoint.deleted", True)
    for method in ("GET", "DELETE"):
        assert server.ask(method, path).status == 404
    assert server.ask("GET", f"{path}/deliveries").status == 404


def sent_signatures(server: ApiServer, path: str) -> int:
    """How many secrets sign what is sent now; `server` sends it to itself."""
    with hook_receiver() as receiver:
        server.post_json(path, {"url": receiver.url})
        server.post_json(f"{path}/test", {"event_type": "batch.failed"})
        (hook,) = receiver.hooks
    return len(hook.headers["webhook-signature"].split(" "))


def test_rotate_ends_the_old_secret_unless_it_is_kept(server: ApiServer) -> None:
    made = create(server)
    path = f"{ENDPOINTS}/{made.at('id')}"
    kept = {"keep_old_secret_active_for_24_hours": True}
    secrets = {made.at("signing_secret")}
    for count in (2, 3):
        secrets.add(server.post_json(f"{path}/rotate_secret", kept).at("signing_secret"))
        assert len(secrets) == count
        assert sent_signatures(server, path) == count
    assert server.post_json(f"{path}/rotate_secret", {}).at("signing_secret") not in secrets
    assert sent_signatures(server, path) == 1


@pytest.mark.parametrize("status", [200, 302, 500])
def test_test_sends_a_sample_and_tells_the_answer(server: ApiServer, status: int) -> None:
    with hook_receiver() as receiver:
        receiver.status = status
        made = create(server, url=receiver.url)
        told = server.post_json(
            f"{ENDPOINTS}/{made.at('id')}/test", {"event_type": "batch.expired"}
        )
        (hook,) = receiver.hooks
    assert told.json() == {
        "object": "webhook_endpoint.test",
        "webhook_endpoint_id": made.at("id"),
        "event_type": "batch.expired",
        "status_code": status,
        "success": True,
    }
    Verifier(str(made.at("signing_secret"))).verify(hook.body, dict(hook.headers))
    assert json.loads(hook.body)["type"] == "batch.expired"


def test_test_without_an_answer_is_refused(server: ApiServer) -> None:
    path = f"{ENDPOINTS}/{create(server).at('id')}/test"
    told = server.post_json(path, {"event_type": "batch.expired"})
    assert (told.status, told.at("error", "code")) == (400, "no_answer")
    assert "refuses connections" in str(told.at("error", "message"))
    unknown = server.post_json(path, {"event_type": "video.completed"})
    assert unknown.at("error", "param") == "event_type"


def test_event_types(server: ApiServer) -> None:
    reply = server.ask("GET", "/v1/webhook_event_types")
    assert reply.json() == {"object": "list", "data": ALL}


def test_deliveries(server: ApiServer) -> None:
    webhook_id = str(create(server).at("id"))
    for number in range(3):
        event = Event.of_end(f"batch_{number}", JobStatus.COMPLETED, 1_000.0 + number)
        server.store(lambda tx, event=event: rows.post(tx, "local", event))
    path = f"{ENDPOINTS}/{webhook_id}/deliveries"
    page = server.ask("GET", f"{path}?limit=2")
    assert page.at("has_more") is True
    first = page.at("data", 0)
    assert isinstance(first, dict)
    assert first == {
        "id": first["id"],
        "object": "webhook_delivery",
        "webhook_endpoint_id": webhook_id,
        "event_id": "evt_2",
        "event_type": "batch.completed",
        "batch_id": "batch_2",
        "created_at": 1002,
        "status": "pending",
        "attempts": 0,
        "last_attempt_at": None,
        "last_status_code": None,
        "last_error": None,
        "next_attempt_at": 1002,
        "delivered_at": None,
    }
    rest = server.ask("GET", f"{path}?limit=2&after={page.at('last_id')}")
    assert rest.at("data", 0, "batch_id") == "batch_0"
    assert rest.at("has_more") is False


@pytest.mark.parametrize("prefix", ["", "/v1", "/v1/v1", "/openai/v1", "/openai"])
def test_every_spelling_of_the_path(server: ApiServer, prefix: str) -> None:
    for path in ("/webhook_endpoints", "/webhook_event_types"):
        assert server.ask("GET", prefix + path).status == 200


def test_together_has_none(server: ApiServer) -> None:
    refused = server.ask("GET", ENDPOINTS, headers=TOGETHER)
    assert (refused.status, refused.at("error", "code")) == (404, "unknown_url")
