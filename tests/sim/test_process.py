"""The engine as `overnight sim` runs it."""

import http.client
import json
import os
import signal
import subprocess
import sys

import pytest

from support.sim import command, running_sim
from support.sim_client import chat


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, check=False, capture_output=True, text=True, timeout=30)


def test_serves_and_counts() -> None:
    with running_sim("--model", "a", "--model", "b", "--seed", "5") as sim:
        assert sim.base_url == f"http://127.0.0.1:{sim.port}/v1"
        connection = http.client.HTTPConnection("127.0.0.1", sim.port, timeout=10)
        body = json.dumps(chat("x") | {"model": "b"})
        connection.request("POST", "/v1/chat/completions", body)
        assert connection.getresponse().status == 200
        connection.close()
        assert sim.stats()["by_status"] == {"200": 1}


def test_serves_in_batches_with_the_timers_of_the_process() -> None:
    """Its loop is not the one of the other tests."""
    with running_sim("--max-num-seqs", "2", "--tokens-per-second", "100000") as sim:
        connections = [
            http.client.HTTPConnection("127.0.0.1", sim.port, timeout=10) for _ in "abcd"
        ]
        for turn in range(20):
            for number, connection in enumerate(connections):
                body = json.dumps(chat(f"{turn} {number}"))
                connection.request("POST", "/v1/chat/completions", body)
            for connection in connections:
                answer = connection.getresponse()
                assert (answer.status, bool(answer.read())) == (200, True)
        for connection in connections:
            connection.close()
        assert sim.stats()["by_status"] == {"200": 80}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_cleanly_when_asked(number: signal.Signals) -> None:
    with subprocess.Popen(
        command("--port", "0"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "http://127.0.0.1:" in process.stdout.readline()
        assert process.stdout.readline() == "  speed     answers at once\n"
        os.kill(process.pid, number)
        output, errors = process.stdout.read(), process.stderr.read()
        assert process.wait(10) == 0
    assert (output, errors) == ("No requests.\n", "")


def test_a_taken_port_is_told() -> None:
    with running_sim() as sim:
        ended = run(command("--port", str(sim.port)))
    assert ended.returncode == 2
    assert ended.stderr == (
        f"error: can not listen on 127.0.0.1:{sim.port}: Address already in use\n"
    )


def test_needs_no_web_framework() -> None:
    program = "import sys, overnight.sim; print(*sys.modules)"
    loaded = run([sys.executable, "-c", program])
    assert "overnight.sim" in loaded.stdout
    assert not {"fastapi", "uvicorn", "sqlalchemy", "pydantic"} & set(loaded.stdout.split())
