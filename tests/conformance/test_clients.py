"""Every client of the compatibility table, unchanged, through all its steps on a real service."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from support.sdk import node_module, program_of, python_of, run
from tests.conformance.catalogue import CLIENTS, ClientUnderTest
from tests.conformance.report import RowsOf
from tests.sdk.node import node_is_there

PROGRAMS = Path(__file__).parent / "programs"
SECONDS_MAX = 180


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
