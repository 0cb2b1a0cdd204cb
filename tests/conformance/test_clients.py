"""Every client of the compatibility table, unchanged, through all its steps on a real service."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.sdk import node_module, program_of, python_of, run
from support.service import running_service
from support.shared import shared
from support.sim import running_sim
from tests.conformance.catalogue import CLIENTS, ClientUnderTest
from tests.conformance.report import RowsOf
from tests.sdk.node import node_is_there

PROGRAMS = Path(__file__).parent / "programs"
SECONDS_MAX = 180


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The base URL of one service for all clients, and a key of each client's own tenant."""
    folder = tmp_path_factory.mktemp("service")
    with shared(tmp_path_factory, "conformance", running(folder)) as place:
        yield place


@contextmanager
def running(folder: Path) -> Iterator[dict[str, Any]]:
    """One engine that answers at once and one that does not answer while a test lasts."""
    keys = {client.name: f"on-{client.name}" for client in CLIENTS}
    flags = [flag for key in keys.values() for flag in ("--api-key", key)]
    # Nothing but its key says what dialect curl speaks.
    keys["curl-together"] = created_key(folder, "--dialect", "together")
    slow = ("--model", "slow", "--latency-ms", "600000")
    with (
        running_sim() as engine,
        running_sim(*slow) as slow_engine,
        running_service(
            folder,
            engine.base_url,
            *("--upstream", slow_engine.base_url, *flags),
            cancel_grace_seconds=0.1,
        ) as service,
    ):
        yield {"base_url": service.base_url, "keys": keys}


def created_key(folder: Path, *arguments: str) -> str:
    create = ["keys", "create", "conformance", "--data-dir", str(folder), *arguments]
    command = [sys.executable, "-m", "overnight", *create]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


# Those of many processes first, or everybody else would wait for them.
SLOWEST_FIRST = sorted(CLIENTS, key=lambda client: not client.command)


@pytest.mark.parametrize("client", SLOWEST_FIRST, ids=lambda client: client.name)
def test_a_client(place: dict[str, Any], client: ClientUnderTest, tmp_path: Path) -> None:
    rows = RowsOf(client)
    rows.clear()
    options = {
        "base_url": place["base_url"],
        "key": place["keys"][client.name],
        "folder": str(tmp_path),
        "rows": str(rows.path),
        "steps": client.steps,
        "kind": client.kind,
        "command": str(command_of(client)),
    }
    program = [python_for(client), PROGRAMS / client.program, json.dumps(options)]
    ended = run(program, timeout=SECONDS_MAX)
    assert rows.that_differ() == {}, ended.stderr
    assert list(rows.read()) == client.steps


def python_for(client: ClientUnderTest) -> Path:
    """The SDK's own interpreter, or ours where the SDK is not Python's."""
    is_python = client.environment and not client.environment.startswith("npm-")
    return python_of(client.environment) if is_python else Path(sys.executable)


def command_of(client: ClientUnderTest) -> Path | str:
    if client.environment.startswith("npm-"):
        if not node_is_there():
            pytest.skip(f"Node.js or npm is not there: {client.name} IS NOT TESTED")
        return node_module(client.environment, "openai/index.mjs")
    return program_of(client.environment, client.command) if client.command else ""
