"""Data folders that earlier versions left when they were killed, served by this one."""

import json
import sqlite3
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from overnight.node import DATABASE_NAME
from support.batches import BatchClient, Results, numbered
from support.service import ServiceProcess, running_service
from support.sim import SimProcess, running_sim

DATA = Path(__file__).parent / "data"
DONE, CANCELLED, HALF, UNTOUCHED = 40, 60, 1_300, 25
"""Requests of each job: see `make_folder.py`."""


@pytest.fixture(scope="module", params=sorted(DATA.glob("*.tar.xz")), ids=lambda path: path.stem)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("old")
    with tarfile.open(request.param) as packed:
        packed.extractall(target, filter="data")
    return target / "data"


@pytest.fixture(scope="module")
def sim(folder: Path) -> Iterator[SimProcess]:
    with running_sim() as engine:
        yield engine


@pytest.fixture(scope="module")
def service(folder: Path, sim: SimProcess) -> Iterator[ServiceProcess]:
    with running_service(folder, sim.base_url) as running:
        yield running


def results(client: BatchClient) -> dict[str, Results]:
    """Of all jobs, by the kind that the names of their requests tell."""
    with urllib.request.urlopen(f"{client.base_url}/v1/batches", timeout=30) as reply:
        ids = [batch["id"] for batch in json.load(reply)["data"]]
    found = {}
    for batch_id in ids:
        result = client.results(batch_id)
        first = (*result.output, *result.errors)[0]
        found[first["custom_id"].partition("-")[0]] = result
    return found


def test_its_jobs_go_on_and_end_with_every_line_once(
    service: ServiceProcess, sim: SimProcess, folder: Path
) -> None:
    found = results(service.client)
    assert {kind: result.batch["status"] for kind, result in found.items()} == {
        "done": "completed",
        "cancelled": "cancelled",
        "half": "completed",
        "untouched": "completed",
    }
    found["done"].assert_whole(numbered(DONE, "done-"))
    found["cancelled"].assert_whole(numbered(CANCELLED, "cancelled-"))
    found["half"].assert_whole(numbered(HALF, "half-"))
    found["untouched"].assert_whole(numbered(UNTOUCHED, "untouched-"))
    # What the old version had written down was not sent again.
    assert sim.stats()["requests"] <= HALF * 2 // 3 + UNTOUCHED
    assert sim.stats()["repeated"] == 0
    inputs, ended = 4, found.values()
    written = sum(bool(result.output) + bool(result.errors) for result in ended)
    assert len(list((folder / "files").iterdir())) == inputs + written
    assert list((folder / "jobs").iterdir()) == []


def serve(folder: Path) -> subprocess.CompletedProcess[str]:
    """A start that is refused."""
    command = [sys.executable, "-m", "overnight", "serve", "--port", "0", "--data-dir", folder]
    return subprocess.run(
        [*command, "--upstream", "http://127.0.0.1:9/v1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_damaged_database_is_refused_with_a_remedy(service: ServiceProcess, folder: Path) -> None:
    """A page in the middle: nothing that a start reads by itself."""
    database = folder / DATABASE_NAME
    assert service.stop() == 0
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    sound = database.read_bytes()
    pages = bytearray(sound)
    pages[3 * 4096 : 4 * 4096] = b"\xff" * 4096
    database.write_bytes(pages)
    refused = serve(folder)
    assert refused.returncode == 1
    assert "is damaged" in refused.stderr
    assert "put overnight.sqlite3 back from a backup" in refused.stderr
    assert "Traceback" not in refused.stderr
    database.write_bytes(sound)
    service.start()


def test_a_folder_of_a_newer_version_is_refused_with_a_sentence(
    service: ServiceProcess, folder: Path
) -> None:
    assert service.stop() == 0
    with closing(sqlite3.connect(folder / DATABASE_NAME)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    before = sorted(path.name for path in folder.rglob("*"))
    refused = serve(folder)
    assert refused.returncode == 2
    assert "was written by a newer version of Overnight (schema 9999)" in refused.stderr
    assert "upgrade Overnight, or use another data folder" in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr
    assert sorted(path.name for path in folder.rglob("*")) == before
