"""The whole service, started as users start it."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.polling import wait_for


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    base_url: str
    """Without `/v1`."""
    data_dir: Path
    pid: int

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base_url}/readyz", timeout=10) as reply:
                return bool(reply.status == 200)
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return False


@contextmanager
def running_service(data_dir: Path, upstream: str, *arguments: str) -> Iterator[ServiceProcess]:
    """`overnight serve` on a free port, with further arguments; ready when it is handed out."""
    command = [sys.executable, "-m", "overnight", "serve", "--port", "0"]
    command += ["--data-dir", str(data_dir), "--upstream", upstream, *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:

        def started() -> ServiceProcess | None:
            assert process.poll() is None, f"it ended with {process.returncode}"
            file = data_dir / "run.json"
            run = json.loads(file.read_text()) if file.exists() else None
            return run and ServiceProcess(run["url"], data_dir, process.pid)

        try:
            service = wait_for(started, what="the start")
            wait_for(service.is_ready, what="being ready")
            yield service
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
