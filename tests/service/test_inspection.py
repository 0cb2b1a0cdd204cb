"""Damage is found, wherever it is; nothing is changed; a living service raises no alarm."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overnight.domain.job import JobEvent
from overnight.node import DATABASE_NAME
from overnight.seams import SystemDisk
from overnight.service.inspection import Inspected, Inspection
from overnight.store import jobs, shards
from overnight.store.blobs import Blobs
from overnight.store.inspection import ReadOnlyDatabase
from support.data_folder import JOB, REQUESTS, flip_a_byte, plan, segments, settled_folder
from support.store import Store

PLAN_BYTES = 32 * REQUESTS


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return settled_folder(tmp_path_factory.mktemp("template"))


@pytest.fixture
def data_dir(template: Path, tmp_path: Path) -> Path:
    for path in template.rglob("*"):
        target = tmp_path / path.relative_to(template)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.write_bytes(path.read_bytes())
    return tmp_path


def inspected(data_dir: Path, *, checksums: bool = True) -> Inspected:
    return Inspecting(data_dir, checksums=checksums).to_the_end()


class Inspecting:
    def __init__(self, data_dir: Path, *, checksums: bool = True) -> None:
        disk = SystemDisk()
        self.database = ReadOnlyDatabase(data_dir / DATABASE_NAME)
        blobs = Blobs(data_dir, disk)
        self.walk = Inspection(self.database, blobs, disk, time.time(), checksums=checksums)
        self.steps = self.walk.steps()

    def to_the_end(self) -> Inspected:
        total = self.walk.total_bytes()
        done = list(self.steps)
        assert done == sorted(done)
        assert done[-1] == total or self.walk.result.damage
        self.database.close()
        return self.walk.result


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("checksums", [True, False])
def test_a_sound_folder(data_dir: Path, checksums: bool) -> None:
    before = contents(data_dir)
    found = inspected(data_dir, checksums=checksums)
    assert (found.jobs, found.shards, found.segments, found.files) == (1, 3, 3, 1)
    assert (found.damage, found.orphans, found.leftovers) == ([], [], [])
    after = contents(data_dir)
    # What SQLite needs to share a file is no change of what is stored.
    shared = {data_dir / f"{DATABASE_NAME}{suffix}" for suffix in ("-shm", "-wal")}
    assert {path: after[path] for path in after.keys() - shared} == before
    assert all(not after[path] for path in shared & after.keys() if path.name.endswith("-wal"))


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(offset=st.integers(0, PLAN_BYTES - 1))
def test_any_flipped_byte_of_a_plan_is_found(data_dir: Path, offset: int) -> None:
    flip_a_byte(plan(data_dir), offset)
    shard = offset // 32_000
    assert inspected(data_dir).damage == [f"{JOB}: the plan of shard {shard} is damaged"]
    flip_a_byte(plan(data_dir), offset)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1, exclude_max=True), number=st.integers(0, 2))
def test_any_flipped_byte_of_a_segment_is_found(data_dir: Path, place: float, number: int) -> None:
    path = segments(data_dir)[number]
    offset = int(place * path.stat().st_size)
    flip_a_byte(path, offset)
    (damage,) = inspected(data_dir).damage
    assert damage.startswith(f"{JOB}: the segment of shard {number} has ")
    flip_a_byte(path, offset)


def test_what_is_missing_is_found_without_reading_too(data_dir: Path) -> None:
    segments(data_dir)[1].unlink()
    os.truncate(segments(data_dir)[1], 10)
    for checksums in (True, False):
        found = inspected(data_dir, checksums=checksums)
        assert len(found.damage) == 2
        assert found.damage[0] == f"{JOB}: the segment of shard 1 is missing"
        assert found.damage[1].startswith(f"{JOB}: the segment of shard 2 has ")


def test_a_missing_plan(data_dir: Path) -> None:
    plan(data_dir).unlink()
    assert inspected(data_dir).damage == [f"{JOB}: the plan is missing"]


def test_files_that_are_missing_or_cut(data_dir: Path) -> None:
    (path,) = (data_dir / "files").iterdir()
    size = path.stat().st_size
    os.truncate(path, 7)
    assert inspected(data_dir).damage == [f"file-0001: it has 7 bytes instead of {size:,}"]
    path.unlink()
    assert inspected(data_dir).damage == ["file-0001: it is missing"]


def test_orphans_are_told_and_stay(data_dir: Path) -> None:
    orphan = data_dir / "files" / "file-ffff"
    orphan.write_text("whose?")
    folder = data_dir / "jobs" / "batch_ffff"
    folder.mkdir()
    (data_dir / "incoming" / "half").write_text("ha")
    found = inspected(data_dir)
    assert (found.damage, found.orphans) == ([], [orphan, folder])
    assert found.unfinished_uploads == 1
    assert orphan.exists()
    assert folder.exists()


@pytest.fixture
def service(data_dir: Path) -> Iterator[Store]:
    """Somebody who works in the folder at the same time."""
    store = Store(data_dir / DATABASE_NAME)
    yield store
    store.close()


def test_a_job_that_ends_meanwhile_is_no_damage(data_dir: Path, service: Store) -> None:
    inspecting = Inspecting(data_dir)
    next(inspecting.steps)
    service.do(jobs.advance, JOB, JobEvent.PUBLISHED, 9e9)
    for path in (plan(data_dir), *segments(data_dir)):
        path.unlink()
    assert inspecting.to_the_end().damage == []


def test_what_is_still_being_written_is_not_judged(data_dir: Path, service: Store) -> None:
    service.do(lambda tx: tx.exec_driver_sql("UPDATE shards SET segment_epoch = NULL"))
    flip_a_byte(segments(data_dir)[0], -1)
    assert inspected(data_dir).damage == []
    assert not any(row.settled for row in service.do(shards.of_job, JOB))


def test_the_files_of_a_job_that_ends_are_no_orphans(data_dir: Path) -> None:
    from overnight.domain.file import result_file_id

    (data_dir / "files" / result_file_id(JOB, "output")).write_text("placed, its row to come")
    assert inspected(data_dir).orphans == []
