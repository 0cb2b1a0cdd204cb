"""The one service that the clients and the golden exchanges are run against."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.service import running_service
from support.shared import shared
from support.sim import running_sim
from tests.conformance.catalogue import CLIENTS


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The base URL of one service for all, and a key for each, of a tenant of its own."""
    folder = tmp_path_factory.mktemp("service")
    with shared(tmp_path_factory, "conformance", running(folder)) as place:
        yield place


@contextmanager
def running(folder: Path) -> Iterator[dict[str, Any]]:
    """One engine that answers at once and one that does not answer while a test lasts."""
    names = [*(client.name for client in CLIENTS), "golden-openai", "golden-together"]
    keys = {name: f"on-{name}" for name in names}
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
