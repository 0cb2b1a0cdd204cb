"""A simulated engine in a process of its own."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SimProcess:
    port: int
    base_url: str
    """With `/v1`."""
    pid: int

    def stats(self) -> dict[str, Any]:
        """`requests`, `distinct`, `repeated`, `in_flight`, `most_in_flight`, `by_status`, …"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/sim/stats")
            stats: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return stats


def command(*arguments: str) -> list[str]:
    """`overnight sim` with these arguments, such as `"--latency-ms", "20"`."""
    return [sys.executable, "-m", "overnight", "sim", *arguments]


@contextmanager
def running_sim(*arguments: str, port: int = 0) -> Iterator[SimProcess]:
    """Started with these arguments, ended on leaving."""
    started_with = command("--port", str(port), "--json", *arguments)
    with subprocess.Popen(started_with, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, f"the simulated engine did not start: exit code {process.wait()}"
            started = json.loads(line)
            yield SimProcess(started["port"], started["base_url"], process.pid)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
