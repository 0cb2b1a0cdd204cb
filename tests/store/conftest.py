"""A database for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "overnight.db")
    yield opened
    opened.close()
