"""The whole service, started as users start it, and ended in every way there is."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.batches import BatchClient
from support.polling import is_alive, wait_for

START_SECONDS_MAX = 60.0
"""Of four processes that import a lot, on a machine that has other things to do."""
STOP_SECONDS = 15.0
RESTART_SECONDS_MAX = 45.0
"""Of a process that dies again and again; the waits in between double up to 30 s."""


@dataclass(slots=True)
class ServiceProcess:
    """A data folder and the `overnight serve` that runs on it now; `start` again after a kill."""

    data_dir: Path
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    errors: Path | None = None
    """Where standard error goes, if not to the test's own."""
    process: subprocess.Popen[bytes] | None = None
    start_seconds: float = 0.0
    """What the latest start took, which measures the machine."""

    def start(self) -> None:
        """Returns once it is ready."""
        started = time.monotonic()
        command = [sys.executable, "-m", "overnight", "serve", "--json", "--port", "0"]
        command += ["--data-dir", str(self.data_dir), *self.arguments]
        environment = os.environ | self.environment
        with self.errors.open("ab") if self.errors else nullcontext() as errors:
            self.process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=errors, env=environment
            )
        wait_for(self._is_up, START_SECONDS_MAX, "the start")
        wait_for(lambda: self.client.status_of("/readyz") == 200, START_SECONDS_MAX, "being ready")
        self.start_seconds = time.monotonic() - started

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"it ended with {self.process.returncode}"
        # A killed service leaves its file behind.
        return bool(self._run().get("pid") == self.process.pid)

    def _run(self) -> dict[str, Any]:
        with suppress(FileNotFoundError):
            run: dict[str, Any] = json.loads((self.data_dir / "run.json").read_text())
            return run
        return {}

    @property
    def base_url(self) -> str:
        """Without `/v1`."""
        return str(self._run()["url"])

    @property
    def client(self) -> BatchClient:
        return BatchClient(self.base_url)

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        assert self.process is not None
        return self.process.pid

    def pids(self, role: str | None = None) -> list[int]:
        """Children, of one role or all."""
        roles: dict[str, list[int]] = self._run()["pids"]
        return [pid for name, pids in roles.items() if role in (None, name) for pid in pids]

    def pid_of(self, role: str) -> int:
        """The first living process of the role, waited for while it is being replaced."""
        living = wait_for(
            lambda: list(filter(is_alive, self.pids(role))), RESTART_SECONDS_MAX, f"a living {role}"
        )
        return living[0]

    def kill(self, role: str) -> int:
        """kill -9 of one child; returns who it was once it is gone."""
        pid = self.pid_of(role)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not is_alive(pid), what=f"the death of the {role}")
        return pid

    def kill_supervisor(self) -> None:
        """kill -9 of the supervisor alone; returns when its children have left by themselves."""
        orphans = self.pids()
        self._end_supervisor()
        # At once where they work; one that is only starting hears of it when it has started.
        wait_for(lambda: not any(map(is_alive, orphans)), what="the children's end")

    def kill_everything(self) -> None:
        """kill -9 of the whole tree, as when the machine's memory runs out."""
        children = self.pids()
        self._end_supervisor()
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(map(is_alive, children)), what="the end of all")

    def _end_supervisor(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@contextmanager
def running_service(
    data_dir: Path,
    upstream: str,
    *arguments: str,
    errors: Path | None = None,
    **settings: object,
) -> Iterator[ServiceProcess]:
    """`overnight serve` on a free port, ready when it is handed out.

    `arguments` are further flags; `settings` go through the environment by their names there:
    `lease_seconds=3` is `OVERNIGHT_LEASE_SECONDS=3`.
    """
    environment = {f"OVERNIGHT_{name.upper()}": str(value) for name, value in settings.items()}
    service = ServiceProcess(data_dir, ("--upstream", upstream, *arguments), environment, errors)
    try:
        service.start()
        yield service
    finally:
        if service.process is not None and service.process.poll() is None:
            service.stop()
