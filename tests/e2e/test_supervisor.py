"""The supervisor over real processes that are really killed; only their work is a stand-in."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from overnight.supervisor.folder import open_folder
from support.polling import is_alive, wait_for

STUB = Path(__file__).parent.parent / "support" / "stub_node.py"

DRIVER = """
import sys
from pathlib import Path
from overnight.cli.messages import told
from overnight.settings import Settings
from overnight.supervisor import Supervisor

stub, folder, port, workers = sys.argv[1:]
settings = Settings(data_dir=Path(folder), port=int(port), workers=int(workers), api_keys=("k",))
with told():
    sys.exit(Supervisor(settings, command=lambda role: (sys.executable, "-S", stub, role)).run())
"""


class Service:
    """A supervisor in a process of its own, over stand-ins."""

    def __init__(self, folder: Path, port: int = 0, workers: int = 1) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(STUB), str(folder), str(port), str(workers)],
            stderr=subprocess.PIPE,
            text=True,
        )

    def run_file(self) -> dict[str, Any] | None:
        path = self.folder / "run.json"
        return json.loads(path.read_text()) if path.exists() else None

    def started(self) -> "Service":
        def all_seen() -> bool:
            run = self.run_file()
            return run is not None and all(pid in self.seen() for pid in self.pids())

        wait_for(all_seen, what="the start of all children")
        return self

    def pids(self, role: str | None = None) -> list[int]:
        by_role = (self.run_file() or {"pids": {}})["pids"]
        return [pid for name, pids in by_role.items() if role in (None, name) for pid in pids]

    def seen(self) -> dict[int, dict[str, Any]]:
        """What each process that ever ran here has noted, by its id."""
        files = (self.folder / "seen").glob("*.json")
        return {int(path.stem): json.loads(path.read_text()) for path in files}

    def replacement_of(self, role: str, *dead: int) -> int:
        def look() -> int | None:
            new = [pid for pid in self.pids(role) if pid not in dead and pid in self.seen()]
            return new[0] if new else None

        return wait_for(look, what=f"a new {role}")

    def get(self) -> str:
        run = self.run_file()
        assert run is not None
        with urllib.request.urlopen(f"{run['url']}/healthz", timeout=10) as reply:
            return reply.read().decode()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        return self.end()

    def end(self) -> tuple[int, str]:
        _, log = self.process.communicate(timeout=20)
        return self.process.returncode, log


Start = Callable[..., Service]


@pytest.fixture
def start() -> Iterator[Start]:
    services: list[Service] = []

    def start_one(folder: Path, **options: int) -> Service:
        services.append(Service(folder, **options))
        return services[-1]

    yield start_one
    for service in services:
        service.process.kill()
    for service in services:
        service.process.communicate()
        wait_for(lambda s=service: not any(map(is_alive, s.seen())), what="the end of orphans")


def test_start_and_stop(start: Start, tmp_path: Path) -> None:
    service = start(tmp_path / "data", workers=2).started()
    run = service.run_file()
    assert run is not None
    assert run["pid"] == service.process.pid
    assert {role: len(pids) for role, pids in run["pids"].items()} == {
        "api": 1,
        "clerk": 1,
        "worker": 2,
    }
    roles = [record["role"] for record in service.seen().values()]
    assert sorted(roles) == ["api", "clerk", "migrate", "worker", "worker"]
    assert service.get() == str(run["pids"]["api"][0])
    pids = service.pids()
    assert service.stop() == (0, "")
    assert [service.seen()[pid]["end"] for pid in pids] == ["term"] * 4
    assert service.run_file() is None


def test_children_get_the_settings_with_secrets_and_the_real_port(
    start: Start, tmp_path: Path
) -> None:
    service = start(tmp_path).started()
    run = service.run_file()
    assert run is not None
    record = service.seen()[service.pids("worker")[0]]["assignment"]
    assert record["settings"]["api_keys"] == ["k"]
    assert run["url"] == f"http://127.0.0.1:{record['settings']['port']}"
    ids = [seen["assignment"]["worker_id"] for seen in service.seen().values()]
    assert len(set(ids)) == len(ids)
    assert record["replaces"] == []


def test_a_killed_child_is_replaced_and_its_id_handed_on(start: Start, tmp_path: Path) -> None:
    service = start(tmp_path).started()
    first = service.pids("worker")[0]
    os.kill(first, signal.SIGKILL)
    second = service.replacement_of("worker", first)
    os.kill(second, signal.SIGKILL)
    third = service.replacement_of("worker", first, second)
    seen = service.seen()
    dead = [seen[pid]["assignment"]["worker_id"] for pid in (first, second)]
    assert seen[second]["assignment"]["replaces"] == dead[:1]
    assert seen[third]["assignment"]["replaces"] == dead
    code, log = service.stop()
    assert code == 0
    assert log.splitlines() == [
        f"worker (pid {first}) was killed by SIGKILL; starting another in 0.1 s",
        f"worker (pid {second}) was killed by SIGKILL; starting another in 0.2 s",
    ]


def test_clients_queue_while_the_api_restarts(start: Start, tmp_path: Path) -> None:
    service = start(tmp_path).started()
    api = service.pids("api")[0]
    os.kill(api, signal.SIGKILL)
    wait_for(lambda: api not in service.pids(), what="the death of the API")
    assert int(service.get()) == service.replacement_of("api", api)


def test_restarts_back_off_and_never_end(start: Start, tmp_path: Path) -> None:
    (tmp_path / "fragile").touch()
    service = start(tmp_path)

    def clerks() -> list[dict[str, Any]]:
        return [seen for seen in service.seen().values() if seen["role"] == "clerk"]

    # The fifth start proves four deaths; a fourth alone may yet live, and then logs no wait.
    wait_for(lambda: len(clerks()) >= 5, what="the clerk's fifth start")
    (tmp_path / "fragile").unlink()
    service.started()
    code, log = service.stop()
    assert code == 0
    waits = [line.rpartition(" in ")[2] for line in log.splitlines() if "clerk" in line]
    assert waits[:4] == ["0.1 s", "0.2 s", "0.4 s", "0.8 s"]
    assert "exited with code 7" in log


def test_children_end_with_a_killed_supervisor(start: Start, tmp_path: Path) -> None:
    service = start(tmp_path, workers=2).started()
    pids = service.pids()
    service.process.kill()
    wait_for(lambda: not any(map(is_alive, pids)), seconds=5, what="the end of the children")
    assert {service.seen()[pid]["end"] for pid in pids} == {"eof"}


def test_restart_after_a_kill_takes_the_folder_over(start: Start, tmp_path: Path) -> None:
    first = start(tmp_path).started()
    old = first.pids()
    first.process.kill()
    first.process.wait()
    second = start(tmp_path)
    wait_for(lambda: set(second.pids()).isdisjoint(old), what="a new set of children")
    second.started()
    assert not any(map(is_alive, old))


def test_a_second_service_on_the_folder_is_refused(start: Start, tmp_path: Path) -> None:
    first = start(tmp_path).started()
    pids = first.pids()
    code, log = start(tmp_path).end()
    assert code == 2
    assert f"The data folder {tmp_path} is in use by another Overnight." in log
    assert "--data-dir" in log
    assert first.pids() == pids
    assert all(map(is_alive, pids))


def test_a_start_waits_for_the_folder(start: Start, tmp_path: Path) -> None:
    """As after a kill, when an orphan is slow to notice; the test plays the orphan."""
    orphan = open_folder(tmp_path)
    service = start(tmp_path)
    assert service.process.stderr is not None
    assert "waiting for another Overnight" in service.process.stderr.readline()
    assert service.seen() == {}
    os.close(orphan)
    service.started()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_other_ways_to_ask(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    service = start(tmp_path).started()
    pids = service.pids()
    assert service.stop(number) == (0, "")
    assert {service.seen()[pid]["end"] for pid in pids} == {"term"}


def test_what_does_not_stop_is_killed_in_time(start: Start, tmp_path: Path) -> None:
    service = start(tmp_path).started()
    pids = service.pids()
    (tmp_path / "stubborn").touch()
    asked_at = time.monotonic()
    assert service.stop()[0] == 0
    assert 5 < time.monotonic() - asked_at < 10
    assert not any(map(is_alive, pids))


def test_asking_twice_is_insisting(start: Start, tmp_path: Path) -> None:
    service = start(tmp_path).started()
    pids = service.pids()
    (tmp_path / "stubborn").touch()
    asked_at = time.monotonic()
    service.process.send_signal(signal.SIGINT)
    wait_for(lambda: service.seen()[pids[0]]["end"] == "refused", what="the first asking")
    service.process.send_signal(signal.SIGINT)
    assert service.end()[0] == 0
    assert time.monotonic() - asked_at < 5
    assert not any(map(is_alive, pids))


def test_port_in_use(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, log = start(tmp_path, port=port).end()
    assert code == 2
    assert f"Port {port} of 127.0.0.1 is in use" in log
    assert "--port" in log


@pytest.mark.parametrize(
    ("code", "is_told"),
    [pytest.param(1, True, id="crashed"), pytest.param(2, False, id="has said why itself")],
)
def test_a_failed_migration_ends_the_start(
    start: Start, tmp_path: Path, code: int, is_told: bool
) -> None:
    (tmp_path / "migrate-code").write_text(str(code))
    service = start(tmp_path)
    ended_with, log = service.end()
    assert ended_with == code
    assert ("preparing the data folder failed" in log) == is_told
    assert [record["role"] for record in service.seen().values()] == ["migrate"]


def test_supervisor_imports_neither_web_nor_sql() -> None:
    source = "import sys, overnight.supervisor; print(*sys.modules)"
    reply = subprocess.run([sys.executable, "-c", source], capture_output=True, check=True)
    heavy = {"sqlalchemy", "alembic", "fastapi", "starlette", "uvicorn", "uvloop", "typer", "rich"}
    assert heavy.isdisjoint(reply.stdout.decode().split())
