"""Runs one of the clients beside this file in a process of its own."""

import json
import subprocess
from pathlib import Path


def measure(
    script: str, python: str, source: Path, port: int, requests: int, in_flight: int = 256
) -> dict[str, float]:
    """CPU `us` per request, `rate` in requests per second, peak `mb`."""
    client = Path(__file__).with_name(script)
    command = [python, client, source, port, requests, in_flight]
    told = subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(told.stdout)
    return found
