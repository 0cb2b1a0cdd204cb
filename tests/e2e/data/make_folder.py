"""Makes a data folder of an earlier version, as it is when everything is killed at once.

    .venv/bin/python tests/e2e/data/make_folder.py COMMIT schema-0001.tar.xz

The service is that of the commit, the engine that of today. The jobs are one of each kind, and
their requests named after it: done, cancelled, half done, and one that nobody has looked at.
"""

import io
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from support.batches import input_file, numbered
from support.polling import wait_for
from support.service import ServiceProcess
from support.sim import running_sim

DONE, CANCELLED, HALF, UNTOUCHED = 40, 60, 1_300, 25
TEN_YEARS_SECONDS = 10 * 365 * 86_400
LEFT_OUT = {"lock", "run.json", "log"}


def main(commit: str, target: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        source, data_dir = Path(temporary) / "source", Path(temporary) / "data"
        archive = subprocess.run(["git", "archive", commit, "src"], check=True, capture_output=True)
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
            packed.extractall(source, filter="data")
        with running_sim("--latency-ms", "60") as sim:
            flags = ("--upstream", sim.base_url, "--max-in-flight", "16")
            environment = {
                "PYTHONPATH": str(source / "src"),
                # Its jobs must not be past their deadline when the folder is a year old.
                "OVERNIGHT_COMPLETION_WINDOW_SECONDS": str(TEN_YEARS_SECONDS),
            }
            service = ServiceProcess(data_dir, flags, environment)
            service.start()
            fill(service)
            service.kill_everything()
        with tarfile.open(target, "w:xz") as packed:
            packed.add(data_dir, "data", filter=anonymous)
    print(f"{target}: {target.stat().st_size:,} bytes")


def fill(service: ServiceProcess) -> None:
    client = service.client
    done = client.submit(input_file(numbered(DONE, "done-")))
    client.wait(done)
    cancelled = client.submit(input_file(numbered(CANCELLED, "cancelled-"), padding=5))
    client.wait_for_status(cancelled, "in_progress")
    client.cancel(cancelled)
    client.wait(cancelled)
    half = client.submit(input_file(numbered(HALF, "half-")))
    wait_for(lambda: client.finished(half) > HALF // 3, what="a third")
    clerk = service.pid_of("clerk")
    os.kill(clerk, signal.SIGSTOP)
    client.submit(input_file(numbered(UNTOUCHED, "untouched-")))
    # All that was written down is in the write-ahead log or the database by then.
    time.sleep(0.5)


def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if entry.name.partition("/")[2].split("/")[0] in LEFT_OUT:
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
