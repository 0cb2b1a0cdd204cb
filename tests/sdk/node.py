"""Environments of Node.js, made from a `package-lock.json` that records no address."""

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.environment import run, say


@dataclass(frozen=True, slots=True)
class NodeEnvironment:
    """`folder` holds what the lock in `source` names, in `node_modules`."""

    folder: Path
    source: Path

    def digest(self) -> str:
        """Changes with the lock only: these packages have nothing that is compiled."""
        return hashlib.sha256(self._lock.read_bytes()).hexdigest()

    def is_ready(self) -> bool:
        try:
            return self._stamp.read_text() == self.digest()
        except FileNotFoundError:
            return False

    def make(self) -> None:
        """Make it unless it is ready. Two at once: the second waits for the first.

        Without Node.js it says so and makes none. Raises `subprocess.CalledProcessError`, whose
        `output` is all that npm said.
        """
        if not node_is_there():
            say(f"Node.js or npm is not there: {self.source.name} is left out, and not tested.")
            return
        with self._held():
            if self.is_ready():
                return
            say(f"Installing {self.source.name} …")
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copy(self.source / name, self.folder / name)
            quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
            run(["npm", "ci", "--prefix", str(self.folder), *quiet])
            self._stamp.write_text(self.digest())

    @property
    def _lock(self) -> Path:
        return self.source / "package-lock.json"

    @property
    def _stamp(self) -> Path:
        return self.folder / ".made-from"

    @contextmanager
    def _held(self) -> Iterator[None]:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self.folder.with_name(self.folder.name + ".making").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield


def node_is_there() -> bool:
    return shutil.which("node") is not None and shutil.which("npm") is not None
