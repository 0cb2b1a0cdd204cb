import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.batch_server import running_batch_server
from support.service import ServiceProcess


@pytest.fixture(autouse=True)
def _clean_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but those of the test: an empty working folder, none of our variables."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith("OVERNIGHT_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """One for all tests that need no more than a server; it has the jobs of all of them."""
    with running_batch_server(tmp_path_factory.mktemp("server") / "data") as service:
        yield service
