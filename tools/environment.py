"""Make a virtual environment from a hashed lock: once, and again when what it came from changes.

python tools/environment.py          the checkout's own, in .venv
"""

import fcntl
import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Environment:
    """`folder` holds what `lock` names; with a `checkout`, also that project as an editable."""

    folder: Path
    lock: Path
    checkout: Path | None = None

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def digest(self) -> str:
        """Changes with the lock, with the interpreter and with what the checkout declares."""
        parts = [self.lock.read_bytes(), sys.version.encode(), sysconfig.get_platform().encode()]
        if self.checkout is not None:
            parts += [str(self.checkout).encode(), (self.checkout / "pyproject.toml").read_bytes()]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()

    def is_ready(self) -> bool:
        try:
            return self._stamp.read_text() == self.digest() and self.python.exists()
        except FileNotFoundError:
            return False

    def make(self) -> None:
        """Make it unless it is ready. Two at once: the second waits for the first.

        Raises `subprocess.CalledProcessError`, whose `output` is all that pip said.
        """
        with self._held():
            if self.is_ready():
                return
            # The stamp goes first and comes last: an environment without one is rubbish.
            self._stamp.unlink(missing_ok=True)
            packages = len(re.findall(r"^\w.*==", self.lock.read_text(), re.MULTILINE))
            say(f"Installing {packages} packages of {self.lock.name} …")
            run([sys.executable, "-m", "venv", "--clear", str(self.folder)])
            self._install("--no-deps", "--require-hashes", "--requirement", str(self.lock))
            if self.checkout is not None:
                # The build backend came with the lock, so nothing is fetched here.
                self._install("--no-deps", "--no-build-isolation", "--editable", str(self.checkout))
            self._stamp.write_text(self.digest())

    @property
    def _stamp(self) -> Path:
        return self.folder / ".made-from"

    def _install(self, *arguments: str) -> None:
        # Most modules are never imported: those that are get compiled then, which is quicker.
        quiet = ["--quiet", "--no-compile", "--disable-pip-version-check", "--no-input"]
        run([str(self.python), "-m", "pip", "install", *quiet, *arguments])

    @contextmanager
    def _held(self) -> Iterator[None]:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self.folder.with_name(self.folder.name + ".making").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run(command: Sequence[str]) -> None:
    """Run it without a word; raises with its output when it fails."""
    subprocess.run(
        command,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # What the caller's Python sees must not count as installed.
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )


def main() -> int:
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        sys.stderr.write(
            f"{sys.executable} can not make virtual environments: install {package} (its name on"
            " Debian and Ubuntu), or name another Python with `make PYTHON=…`.\n"
        )
        return 2
    try:
        Environment(ROOT / ".venv", ROOT / "requirements-dev.lock", checkout=ROOT).make()
    except subprocess.CalledProcessError as failure:
        sys.stderr.write(f"{failure.output}\nCould not make .venv; the lines above say why.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
