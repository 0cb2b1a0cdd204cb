"""The worker against a real database and upstreams in memory, in virtual time."""

import asyncio
from pathlib import Path

import pytest

from overnight.domain.errors import LeaseLost
from overnight.domain.job import JobStatus
from overnight.store import jobs, lanes, workers
from overnight.domain.job import JobEvent
from overnight.store.lanes import LaneSpec
from support.fake_network import Respond, Silence
from support.service_world import URL, ServiceWorld, in_world, running


def test_a_job_is_sent_whole_and_handed_on(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(2_500)
        async with running(world.worker("w")):
            job = await world.until(job_id, JobStatus.FINALIZING)
        assert (job.counts.succeeded, job.counts.failed) == (2_500, 0)
        assert sorted(world.gpu.numbers) == list(range(1, 2_501))
        assert world.gpu.in_flight_max == 4

    in_world(tmp_path, test)
