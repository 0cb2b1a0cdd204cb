"""Webhooks of the whole service: official SDKs verify them, and no kill loses one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.batches import input_file, numbered
from support.command_line import overnight
from support.hook_receiver import HookReceiver, ReceivedHook, hook_receiver
from support.polling import wait_for
from support.sdk import run_script
from support.service import ServiceProcess, running_service
from support.sim import running_sim

SCRIPTS = Path(__file__).parent / "sdk_scripts"
EVENTS = ["batch.completed", "batch.failed", "batch.expired", "batch.cancelled"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "overnight.toml").write_text("[webhooks]\nallow_private = true\n")
    config = ("--config", str(folder / "overnight.toml"))
    with (
        running_sim() as engine,
        running_service(folder / "data", engine.base_url, *config) as running,
    ):
        yield running


@pytest.fixture
def receiver() -> Iterator[HookReceiver]:
    with hook_receiver() as running:
        yield running


def webhooks(service: ServiceProcess, *arguments: str) -> dict[str, Any]:
    done = overnight("webhooks", *arguments, "--json", "--base-url", service.base_url)
    assert done.code == 0, done.err
    told: dict[str, Any] = json.loads(done.out)
    return told


@pytest.fixture
def secret(service: ServiceProcess, receiver: HookReceiver) -> Iterator[str]:
    """Of a webhook to `receiver`, for the time of a test."""
    made = webhooks(service, "create", receiver.url)
    yield str(made["signing_secret"])
    webhooks(service, "delete", str(made["id"]))


def received(receiver: HookReceiver, count: int) -> list[ReceivedHook]:
    return wait_for(
        lambda: receiver.hooks if len(receiver.hooks) >= count else None, 45, f"{count} events"
    )


def test_openai_sdks_verify_what_arrives(
    service: ServiceProcess, receiver: HookReceiver, secret: str, tmp_path: Path
) -> None:
    whole = service.client.submit(input_file(numbered(3)))
    refused = service.client.submit(b"no JSON\n")
    hooks = [
        json.dumps({"headers": dict(hook.headers), "body": hook.body.decode()}) + "\n"
        for hook in received(receiver, 2)
    ]
    log = tmp_path / "hooks.jsonl"
    log.write_text("".join(hooks))
    for sdk in ("openai-1", "openai-2", "openai-3"):
        ended = run_script(sdk, SCRIPTS / "openai_webhooks.py", secret, str(log))
        assert sorted(json.loads(ended.stdout)) == [
            ["BatchCompletedWebhookEvent", "batch.completed", whole],
            ["BatchFailedWebhookEvent", "batch.failed", refused],
        ], sdk


def test_openai_3_manages_them(service: ServiceProcess, receiver: HookReceiver) -> None:
    script = SCRIPTS / "openai_3_webhooks.py"
    ended = run_script("openai-3", script, service.base_url, receiver.url)
    seen = json.loads(ended.stdout)
    assert (seen["types"], seen["status"], seen["gone"]) == (EVENTS, 200, "not_found")
    assert len(set(seen["secrets"])) == 3
    (hook,) = receiver.hooks
    assert len(hook.headers["webhook-signature"].split(" ")) == 2


def test_a_clerk_killed_between_the_end_of_a_job_and_its_delivery(
    service: ServiceProcess, receiver: HookReceiver, secret: str
) -> None:
    receiver.hang = True
    job_id = service.client.submit(input_file(numbered(3)))
    received(receiver, 1)
    assert service.client.get(job_id)["status"] == "completed"
    service.kill("clerk")
    receiver.hang = False
    first, second = received(receiver, 2)[:2]
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert json.loads(second.body)["data"] == {"id": job_id}


def test_everything_killed_while_a_receiver_is_down(
    service: ServiceProcess, receiver: HookReceiver, secret: str
) -> None:
    receiver.status = 500
    job_id = service.client.submit(input_file(numbered(3)))
    received(receiver, 1)
    service.kill_everything()
    receiver.status = 204
    before = len(receiver.hooks)
    service.start()
    hook = received(receiver, before + 1)[-1]
    assert json.loads(hook.body)["data"] == {"id": job_id}
    webhook_id = webhooks(service, "list")["webhooks"][0]["id"]

    def delivered() -> bool:
        (delivery,) = webhooks(service, "show", webhook_id)["deliveries"]
        return bool(delivery["status"] == "delivered" and delivery["attempts"] > 1)

    wait_for(delivered, what="the record of it")
