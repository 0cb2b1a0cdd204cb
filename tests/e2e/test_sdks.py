"""Every official SDK, unchanged, through a whole batch against the whole service."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.sdk import program_of, run, run_script
from support.service import ServiceProcess, running_service
from support.sim import running_sim

SCRIPTS = Path(__file__).parent / "sdk_scripts"
IDS = [f"r{number}" for number in range(200)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("service")
    with running_sim() as engine, running_service(folder, engine.base_url) as running:
        yield running


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An input with a name and a text that are not ASCII."""
    path = tmp_path_factory.mktemp("input") / "ünïcode in.jsonl"
    path.write_text("".join(f"{json.dumps(request(i))}\n" for i in IDS), encoding="utf-8")
    return path


def request(custom_id: str) -> dict[str, object]:
    messages = [{"role": "user", "content": f"grüße an {custom_id}"}]
    body = {"model": "sim", "messages": messages}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


@pytest.mark.parametrize(
    ("sdk", "script", "base_path"),
    [
        ("together-1", "together_1.py", ""),
        ("together-2", "together_3.py", "/v1"),
        ("together-2", "together_3.py", ""),
        ("together-3", "together_3.py", ""),
        ("together-3", "together_3.py", "/v1"),
        ("together-3", "together_3.py", "/together"),
        ("openai-1", "openai_3.py", ""),
        ("openai-2", "openai_3.py", ""),
        ("openai-3", "openai_3.py", ""),
        ("openai-3", "openai_3.py", "/openai"),
    ],
)
def test_a_batch(
    service: ServiceProcess, source: Path, sdk: str, script: str, base_path: str
) -> None:
    ended = run_script(sdk, SCRIPTS / script, service.base_url + base_path, str(source))
    seen = json.loads(ended.stdout.splitlines()[-1])
    assert seen["custom_ids"] == IDS
    assert seen["cancelled"].lower() in {"canceling", "cancelling", "cancelled", "too late"}


def test_openai_sdks_read_what_is_refused(service: ServiceProcess, source: Path) -> None:
    ended = run_script("openai-3", SCRIPTS / "openai_3.py", service.base_url, str(source))
    assert json.loads(ended.stdout.splitlines()[-1])["refused"] == {
        "retrieve": ["not_found", "batch_id", True],
        "endpoint": ["invalid_value", "endpoint", True],
        "purpose": ["invalid_value", "purpose", True],
    }


def test_the_together_command_line(service: ServiceProcess, source: Path) -> None:
    together = program_of("together-3", "together")
    environment = {
        "TOGETHER_API_KEY": "any",
        "TOGETHER_BASE_URL": service.base_url,
        "TOGETHER_TELEMETRY_DISABLED": "1",
    }
    submit = [together, "batches", "submit", source, "chat.completions"]
    submitted = run(submit, environment=environment)
    assert "batch_" in submitted.stdout + submitted.stderr
    listed = run([together, "batches", "list"], environment=environment)
    assert "batch_" in listed.stdout
    files = run([together, "files", "list"], environment=environment)
    assert "file-" in files.stdout


def test_the_openai_command_line(service: ServiceProcess) -> None:
    base = f"{service.base_url}/v1/"
    listed = run(
        [program_of("openai-1", "openai"), "-b", base, "api", "files.list"],
        environment={"OPENAI_API_KEY": "any"},
    )
    assert '"object": "file"' in listed.stdout
