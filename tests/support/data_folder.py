"""A data folder on a real disk, as a service leaves it that was killed in the middle."""

import sqlite3
from contextlib import closing
from pathlib import Path

from overnight.domain.job import JobStatus
from overnight.node import DATABASE_NAME
from overnight.store.lanes import LaneSpec
from support.service_world import ServiceWorld, in_world, running

REQUESTS = 2_500
JOB = "batch_0001"
"""Its three shards are settled; no clerk has come to publish it."""


def settled_folder(folder: Path, upstream: str = "http://gpu/v1") -> Path:
    """One job whose every request has its outcome, but no result files yet."""
    data_dir = folder / "data"

    async def fill(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(REQUESTS)
        assert job_id == JOB
        async with running(world.worker("w")):
            await world.until(job_id, JobStatus.FINALIZING)
        await world.configure(LaneSpec(upstream, 0))
        for path, data in world.disk.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)

    in_world(folder, fill)
    with (
        closing(sqlite3.connect(folder / "db")) as source,
        closing(sqlite3.connect(data_dir / DATABASE_NAME)) as target,
    ):
        source.backup(target)
    data_dir.chmod(0o700)
    (data_dir / "incoming").mkdir()
    return data_dir


def plan(data_dir: Path) -> Path:
    return data_dir / "jobs" / JOB / "plan"


def segments(data_dir: Path) -> list[Path]:
    return sorted((data_dir / "jobs" / JOB / "segments").iterdir())


def flip_a_byte(path: Path, offset: int) -> None:
    """As a dying disk does; a negative offset counts from the end."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
