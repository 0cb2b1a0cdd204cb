"""Processes that are measured: what they cost, as the kernel accounts for it."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Of a finished process and all its children: CPU and wall seconds, peak memory in MB."""

    cpu_seconds: float
    wall_seconds: float
    peak_mb: float


def run(command: Sequence[str | Path], **how: object) -> Cost:
    """Run a command to its end. Raises `subprocess.CalledProcessError` when it fails."""
    launched = [sys.executable, "-S", BENCH / "launcher.py", *command]
    told = subprocess.run(
        [str(part) for part in launched], check=True, stdout=subprocess.PIPE, text=True, **how
    )
    return Cost(**json.loads(told.stdout))


def own_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def family(pid: int) -> list[int]:
    """A process and all its living descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """Of a running process and its finished children; to a tick (10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def memory_mb(pid: int, field: str = "VmHWM") -> float:
    """The peak (`VmHWM`) or present (`VmRSS`) memory of a running process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


@contextmanager
def running(command: Sequence[str | Path], **how: object) -> Iterator[subprocess.Popen[str]]:
    """A process for as long as the block lasts; its standard output can be read."""
    process = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, text=True, **how
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@contextmanager
def upstream(*arguments: str) -> Iterator[int]:
    """An upstream that answers at once, or after `--latency-ms`; yields its port."""
    with running([sys.executable, BENCH / "upstream.py", "0", *arguments]) as process:
        yield int(process.stdout.readline())


@contextmanager
def service(folder: Path, upstream_port: int, *arguments: str) -> Iterator[tuple[str, int]]:
    """`overnight serve`, ready; yields its URL and its supervisor's pid."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "overnight",
        "serve",
        "--data-dir",
        folder,
        "--port",
        str(port),
    ]
    command += ["--upstream", f"http://127.0.0.1:{upstream_port}/v1", *arguments]
    with running(command, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        _await_ready(url)
        yield url, process.pid


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _await_ready(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url + "/readyz", timeout=2) as reply:
                if reply.status == 200:
                    return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)
