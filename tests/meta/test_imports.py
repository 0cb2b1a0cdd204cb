"""What a process pulls in, seen from a fresh interpreter; the layers are import-linter's job."""

import subprocess
import sys
from importlib.util import find_spec

import pytest


def imported_by(module: str) -> set[str]:
    """Top-level packages in memory after importing `module` alone."""
    program = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    ended = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    return set(ended.stdout.split())


WEB = {"fastapi", "starlette", "uvicorn", "pydantic"}

LEAN = {
    "overnight.__main__": WEB | {"sqlalchemy", "alembic", "typer", "rich"},
    "overnight.service.worker": WEB | {"alembic"},
    "overnight.service.run": WEB | {"sqlalchemy", "alembic"},
    "overnight.client.client": WEB | {"sqlalchemy", "alembic", "typer", "rich"},
    # Its settings are checked by pydantic, which is neither web nor SQL.
    "overnight.supervisor": (WEB - {"pydantic"}) | {"sqlalchemy", "alembic"},
}


@pytest.mark.parametrize("module", sorted(LEAN))
def test_processes_import_only_what_they_use(module: str) -> None:
    assert find_spec(module) is not None, f"{module} is gone: name its successor here"
    assert imported_by(module) & LEAN[module] == set()
