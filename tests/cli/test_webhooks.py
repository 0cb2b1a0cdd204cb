"""`overnight webhooks …` against a service."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook as Verifier

from support.batch_server import good_file, running_batch_server
from support.command_line import Ended, overnight
from support.hook_receiver import HookReceiver, hook_receiver
from support.polling import wait_for
from support.service import ServiceProcess
from support.terminal import on_terminal, without_controls


@pytest.fixture(scope="module")
def hooked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """Takes webhooks to this machine."""
    folder = tmp_path_factory.mktemp("hooked")
    (folder / "overnight.toml").write_text("[webhooks]\nallow_private = true\n")
    config = ("--config", str(folder / "overnight.toml"))
    with running_batch_server(folder / "data", *config) as service:
        yield service


@pytest.fixture
def receiver() -> Iterator[HookReceiver]:
    with hook_receiver() as running:
        yield running


def webhooks(server: ServiceProcess, *arguments: object) -> Ended:
    return overnight("webhooks", *arguments, "--base-url", server.base_url)


def created(server: ServiceProcess, *arguments: object) -> dict[str, object]:
    done = webhooks(server, "create", *arguments, "--json")
    assert done.code == 0, done.err
    made: dict[str, object] = json.loads(done.out)
    return made


def test_the_secret_alone_is_on_standard_output(
    hooked: ServiceProcess, receiver: HookReceiver
) -> None:
    done = webhooks(hooked, "create", receiver.url)
    assert done.out.startswith("whsec_")
    assert done.out.count("\n") == 1
    assert "not shown again" in done.err
    assert "overnight webhooks test we_" in done.err
    assert done.out.strip() not in done.err


def test_a_job_is_told_of(hooked: ServiceProcess, receiver: HookReceiver) -> None:
    made = created(hooked, receiver.url, "--event", "batch.completed", "--name", "mine")
    assert (made["name"], made["event_types"]) == ("mine", ["batch.completed"])
    path = good_file(Path("in.jsonl"))
    job = json.loads(overnight("submit", path, "--json", "--base-url", hooked.base_url).out)
    hook = wait_for(lambda: receiver.hooks and receiver.hooks[0], what="the event")
    Verifier(str(made["signing_secret"])).verify(hook.body, dict(hook.headers))
    assert json.loads(hook.body)["data"] == {"id": job["id"]}

    def delivered() -> bool:
        shown = json.loads(webhooks(hooked, "show", made["id"], "--json").out)
        return [one["status"] for one in shown["deliveries"]] == ["delivered"]

    wait_for(delivered, what="the record of it")
    lines = webhooks(hooked, "show", made["id"]).out.splitlines()
    assert lines[0] == made["id"]
    header, row = lines[-2:]
    assert header.split("\t")[:5] == ["job", "event", "status", "tries", "last_answer"]
    assert row.split("\t")[:5] == [job["id"], "batch.completed", "delivered", "1", "200"]
    # Nobody else's jobs end here any more.
    assert webhooks(hooked, "delete", made["id"]).out == f"{made['id']}  deleted\n"
    assert webhooks(hooked, "show", made["id"]).code == 2


def test_test(hooked: ServiceProcess, receiver: HookReceiver) -> None:
    webhook_id = created(hooked, receiver.url)["id"]
    done = webhooks(hooked, "test", webhook_id)
    assert (done.code, done.out) == (0, f"{webhook_id}  batch.completed  answered 200 OK\n")
    receiver.status = 500
    done = webhooks(hooked, "test", webhook_id, "--event", "batch.failed")
    assert done.code == 1
    assert "answered 500 Internal Server Error" in done.out
    assert "takes a status of 2xx" in done.err
    assert [json.loads(hook.body)["type"] for hook in receiver.hooks] == [
        "batch.completed",
        "batch.failed",
    ]


def test_test_without_an_answer(hooked: ServiceProcess) -> None:
    webhook_id = created(hooked, "http://127.0.0.1:9/")["id"]
    done = webhooks(hooked, "test", webhook_id)
    assert done.code == 2
    assert "refuses connections" in done.err


def test_rotate(hooked: ServiceProcess, receiver: HookReceiver) -> None:
    made = created(hooked, receiver.url)
    kept = webhooks(hooked, "rotate", made["id"])
    assert kept.out.startswith("whsec_")
    assert "24 hours" in kept.err
    webhooks(hooked, "test", made["id"])
    ended = webhooks(hooked, "rotate", made["id"], "--now")
    webhooks(hooked, "test", made["id"])
    with_both, with_one = (hook.headers["webhook-signature"].split(" ") for hook in receiver.hooks)
    assert (len(with_both), len(with_one)) == (2, 1)
    assert "nothing any more" in ended.err


def test_list(hooked: ServiceProcess, receiver: HookReceiver) -> None:
    made = created(hooked, receiver.url)
    listed = json.loads(webhooks(hooked, "list", "--json").out)["webhooks"]
    assert listed[0] == made | {"signing_secret": None}
    header, row, *_ = webhooks(hooked, "list").out.splitlines()
    assert header.split("\t") == ["id", "url", "events", "age", "name"]
    assert row.split("\t")[:2] == [made["id"], receiver.url]


@pytest.mark.parametrize("columns", [60, 80])
def test_lists_fit_the_terminal(
    hooked: ServiceProcess, receiver: HookReceiver, columns: int
) -> None:
    made = created(hooked, receiver.url + "&long" * 40)
    options = ("webhooks", "list", "--base-url", hooked.base_url)
    lines = without_controls(on_terminal(*options, columns=columns).out).splitlines()
    assert max(map(len, lines)) <= columns
    assert str(made["id"]) in lines[1]


def test_private_addresses_are_refused(server: ServiceProcess) -> None:
    done = webhooks(server, "create", "https://127.0.0.1/hook")
    assert done.code == 2
    assert "webhooks.allow_private" in done.err


@pytest.mark.parametrize(
    "arguments", [("create", "https://a.example", "--event", "batch.paused"), ("show",)]
)
def test_wrong_usage(hooked: ServiceProcess, arguments: tuple[str, ...]) -> None:
    assert webhooks(hooked, *arguments).code == 2
