"""wrk, the cheapest client there is, where it is installed."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Wrk:
    path: str

    @classmethod
    def find(cls) -> "Wrk | None":
        found = shutil.which("wrk")
        return cls(found) if found else None

    def run(self, port: int, in_flight: int, body: bytes, seconds: int = 2) -> tuple[float, float]:
        """CPU µs per request, and requests per second."""
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "post.lua"
            script.write_text(
                f'wrk.method = "POST"\nwrk.body = [==[{body.decode()}]==]\n'
                'wrk.headers["Content-Type"] = "application/json"\n'
                "done = function(summary)\n"
                '  io.write(string.format("told %d %d\\n", summary.requests, summary.duration))\n'
                "end\n"
            )
            url = f"http://127.0.0.1:{port}/v1/chat/completions"
            command = [self.path, "-t1", f"-c{in_flight}", f"-d{seconds}", "-s", str(script), url]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                told = process.stdout.read()
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
        _, requests, microseconds = told[told.index("told ") :].split()[:3]
        cpu = usage.ru_utime + usage.ru_stime
        return cpu / int(requests) * 1e6, int(requests) / int(microseconds) * 1e6

    def cpu_us(self, port: int, in_flight: int, body: bytes) -> float:
        return self.run(port, in_flight, body)[0]
