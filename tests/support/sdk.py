"""Programs that use an official SDK, each run in that SDK's own environment."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.sdk.prepare import environment_of, node_environment_of


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended and all it wrote."""

    exit_code: int
    stdout: str
    stderr: str


def python_of(sdk: str) -> Path:
    """The interpreter that has this SDK (`together-1`), to be run with a program or a `-m`."""
    environment = environment_of(sdk)
    if not environment.is_ready():
        raise FileNotFoundError(f"{sdk} is not installed: run `make test`, which does it once.")
    return environment.python


def program_of(sdk: str, name: str) -> Path:
    """A command that this SDK installs, such as `together`."""
    return python_of(sdk).with_name(name)


def node_module(name: str, path: str) -> Path:
    """A file of an environment of Node.js (`npm-openai-6`), such as `openai/index.mjs`."""
    environment = node_environment_of(name)
    if not environment.is_ready():
        raise FileNotFoundError(f"{name} is not installed: run `make test`, which does it once.")
    return environment.folder / "node_modules" / path


def run_script(sdk: str, script: Path | str, *arguments: str, timeout: float = 60) -> Finished:
    """Run a file, or source given as text, to its successful end; `timeout` in seconds.

    A program that fails or does not end raises `AssertionError` with what it wrote.
    """
    program = [str(script)] if isinstance(script, Path) else ["-c", script]
    return run([python_of(sdk), *program, *arguments], timeout=timeout)


def run(
    command: list[Path | str],
    *,
    timeout: float = 60,
    exit_code: int = 0,
    environment: dict[str, str] | None = None,
) -> Finished:
    """Run a command of an SDK and demand this exit code, as `run_script` does."""
    said = f"{Path(command[0]).parent.parent.name}: {' '.join(map(str, command[1:]))[:500]}"
    try:
        ended = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=_clean() | (environment or {}),
        )
    except subprocess.TimeoutExpired as late:
        raise AssertionError(
            f"{said}\nhad not ended after {timeout} s."
            f"\n--- stdout\n{_text(late.stdout)}\n--- stderr\n{_text(late.stderr)}"
        ) from None
    assert ended.returncode == exit_code, (
        f"{said}\nended with {ended.returncode}, not {exit_code}."
        f"\n--- stdout\n{ended.stdout}\n--- stderr\n{ended.stderr}"
    )
    return Finished(ended.returncode, ended.stdout, ended.stderr)


def _clean() -> dict[str, str]:
    """No key, address or proxy of whoever runs the tests reaches an SDK."""
    unwanted = ("OPENAI_", "TOGETHER_", "OVERNIGHT_", "PYTHON", "HTTP_PROXY", "HTTPS_PROXY")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith((*unwanted, "ALL_PROXY"))
    }
    quiet = {"NO_COLOR": "1", "TOGETHER_NO_BANNER": "1"}
    return kept | quiet | {"NO_PROXY": "127.0.0.1,localhost"}


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""
