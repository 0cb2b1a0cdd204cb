import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _clean_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but those of the test: an empty working folder, none of our variables."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith("OVERNIGHT_"):
            monkeypatch.delenv(name)
