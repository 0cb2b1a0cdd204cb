"""Any order of claims, renewals, settlements, releases, deaths and cancellations.

Workers that were declared dead go on as if they did not know. A model of who holds what says
which of their writes may count; after each step the database must agree with it.
"""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from overnight.domain.job import PUBLISHING, TERMINAL, Counts, JobEvent, JobStatus
from overnight.store import jobs, shards, workers
from overnight.store.jobs import Published
from overnight.store.shards import Progress, Settlement, ShardClaim
from support.store import Store, start_job

MODELS = ("m", "n")


@dataclass
class ModelShard:
    """What must be true of a shard; `holder` is (worker, epoch)."""

    model: str
    holder: tuple[str, int] | None = None
    epoch: int = 0
    takeovers: int = 0
    live: int = 0
    settled: int | None = None


@dataclass
class ModelJob:
    status: JobStatus
    shards: dict[int, ModelShard]
    published: int | None = None

    @property
    def counted(self) -> int:
        if self.published is not None:
            return self.published
        return sum(s.live if s.settled is None else s.settled for s in self.shards.values())

    @property
    def is_held(self) -> bool:
        return any(shard.holder for shard in self.shards.values())


@dataclass
class ModelWorker:
    name: str
    is_registered: bool = True
    claims: list[ShardClaim] = field(default_factory=list)
    """All it ever got and has not settled or released: it does not know what it has lost."""


class ShardWalk(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store = Store(self.folder / "overnight.db")
        self.jobs: dict[str, ModelJob] = {}
        self.workers: list[ModelWorker] = []
        self.now = 2_000.0

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    def shard_of(self, claim: ShardClaim) -> ModelShard:
        return self.jobs[claim.job_id].shards[claim.ordinal]

    def still_holds(self, worker: ModelWorker, claim: ShardClaim) -> bool:
        """By the model; the shards of a published job are gone."""
        job = self.jobs[claim.job_id]
        holder = self.shard_of(claim).holder
        return job.published is None and holder == (worker.name, claim.epoch)

    @precondition(lambda self: len(self.jobs) < 4)
    @rule(models=st.lists(st.sampled_from(MODELS), min_size=1, max_size=4))
    def begin_job(self, models: list[str]) -> None:
        job_id = f"batch_{len(self.jobs)}"
        start_job(self.store, job_id, models, created_at=1_000.0 + len(self.jobs))
        plan = {ordinal: ModelShard(model) for ordinal, model in enumerate(models)}
        self.jobs[job_id] = ModelJob(JobStatus.IN_PROGRESS, plan)

    @rule()
    def start_worker(self) -> None:
        worker = ModelWorker(f"w{len(self.workers)}")
        self.store.do(workers.register, worker.name, "worker", self.now, self.now + 15)
        self.workers.append(worker)

    @precondition(lambda self: any(worker.is_registered for worker in self.workers))
    @rule(
        data=st.data(),
        models=st.none() | st.sets(st.sampled_from(MODELS)),
        limit=st.integers(1, 3),
    )
    def claim(self, data: st.DataObject, models: set[str] | None, limit: int) -> None:
        self.now += 1
        worker = data.draw(st.sampled_from([w for w in self.workers if w.is_registered]))
        expected = {
            job_id: ordinals[0]
            for job_id, job in self.jobs.items()
            if job.status is JobStatus.IN_PROGRESS
            and (
                ordinals := [
                    ordinal
                    for ordinal, shard in sorted(job.shards.items())
                    if shard.holder is None
                    and shard.settled is None
                    and (models is None or shard.model in models)
                ]
            )
        }
        claims = self.store.do(shards.claim, worker.name, models, limit, self.now)
        assert len(claims) == min(limit, len(expected))
        for claim in claims:
            assert expected.pop(claim.job_id) == claim.ordinal
            shard = self.shard_of(claim)
            assert claim.epoch == shard.epoch + 1
            assert claim.fruitless_takeovers == shard.takeovers
            shard.epoch = claim.epoch
            shard.holder = (worker.name, claim.epoch)
            worker.claims.append(claim)

    @precondition(lambda self: any(worker.claims for worker in self.workers))
    @rule(data=st.data(), done=st.integers(0, 10))
    def renew_progress(self, data: st.DataObject, done: int) -> None:
        worker, claim = self.draw_claim(data)
        report = Progress(claim.job_id, claim.ordinal, claim.epoch, Counts(done))
        refused = self.store.do(shards.renew_progress, worker.name, [report])
        assert (refused == []) is self.still_holds(worker, claim)
        if not refused:
            shard = self.shard_of(claim)
            shard.takeovers = 0 if done > shard.live else shard.takeovers
            shard.live = max(shard.live, done)

    @precondition(lambda self: any(worker.claims for worker in self.workers))
    @rule(data=st.data(), done=st.integers(0, 10))
    def settle(self, data: st.DataObject, done: int) -> None:
        worker, claim = self.draw_claim(data)
        worker.claims.remove(claim)
        settlement = Settlement(claim.job_id, claim.ordinal, claim.epoch, 1, 1, Counts(done))
        refused = self.store.do(shards.settle, worker.name, [settlement], self.now)
        assert (refused == []) is self.still_holds(worker, claim)
        if refused:
            return
        shard, job = self.shard_of(claim), self.jobs[claim.job_id]
        assert shard.settled is None
        shard.holder, shard.settled = None, done
        is_whole = all(shard.settled is not None for shard in job.shards.values())
        if is_whole and job.status is JobStatus.IN_PROGRESS:
            job.status = JobStatus.FINALIZING

    @precondition(lambda self: any(worker.claims for worker in self.workers))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        worker, claim = self.draw_claim(data)
        worker.claims.remove(claim)
        held = (claim.job_id, claim.ordinal, claim.epoch)
        refused = self.store.do(shards.release, worker.name, [held])
        assert (refused == []) is self.still_holds(worker, claim)
        if not refused:
            self.shard_of(claim).holder = None

    @precondition(lambda self: any(worker.is_registered for worker in self.workers))
    @rule(data=st.data(), gracefully=st.booleans())
    def end_worker(self, data: st.DataObject, gracefully: bool) -> None:
        """It keeps its claims in mind and goes on writing."""
        worker = data.draw(st.sampled_from([w for w in self.workers if w.is_registered]))
        worker.is_registered = False
        held = [
            shard
            for job in self.jobs.values()
            for shard in job.shards.values()
            if shard.holder and shard.holder[0] == worker.name
        ]
        if gracefully:
            self.store.do(workers.leave, worker.name)
        else:
            assert self.store.do(workers.reclaim, [worker.name], self.now) == len(held)
        for shard in held:
            shard.holder = None
            shard.epoch += not gracefully
            shard.takeovers += not gracefully

    @precondition(lambda self: self.of_status(JobStatus.IN_PROGRESS))
    @rule(
        data=st.data(), event=st.sampled_from([JobEvent.CANCEL_REQUESTED, JobEvent.DEADLINE_PASSED])
    )
    def stop_job(self, data: st.DataObject, event: JobEvent) -> None:
        job_id = data.draw(st.sampled_from(self.of_status(JobStatus.IN_PROGRESS)))
        self.jobs[job_id].status = self.store.do(jobs.advance, job_id, event, self.now)

    @rule(done=st.integers(0, 40))
    def publish(self, done: int) -> None:
        due = [job for job in self.of_status(*PUBLISHING) if not self.jobs[job].is_held]
        claims = self.store.do(jobs.claim_publishing, "clerk", 1)
        assert [claim.job.id for claim in claims] == sorted(due)[:1]
        if not claims:
            return
        (claim,) = claims
        result = Published(JobEvent.PUBLISHED, None, None, Counts(done))
        self.store.do(jobs.publish, claim, result, self.now)
        job = self.jobs[claim.job.id]
        job.published, job.status = done, self.store.do(jobs.get, claim.job.id).status
        assert job.status in TERMINAL

    def of_status(self, *statuses: JobStatus) -> list[str]:
        return [job_id for job_id, job in self.jobs.items() if job.status in statuses]

    def draw_claim(self, data: st.DataObject) -> tuple[ModelWorker, ShardClaim]:
        pairs = [(worker, claim) for worker in self.workers for claim in worker.claims]
        return data.draw(st.sampled_from(pairs))

    @invariant()
    def jobs_are_as_they_must_be(self) -> None:
        for job_id, job in self.jobs.items():
            stored = self.store.do(jobs.get, job_id)
            assert (stored.status, stored.counts) == (job.status, Counts(job.counted))

    @invariant()
    def shards_are_as_they_must_be(self) -> None:
        stored = self.store.rows(
            "SELECT job_id, ordinal, worker, epoch, segment_epoch FROM shards ORDER BY 1, 2"
        )
        expected = [
            (
                job_id,
                ordinal,
                shard.holder and shard.holder[0],
                shard.epoch,
                None if shard.settled is None else shard.epoch,
            )
            for job_id, job in sorted(self.jobs.items())
            if job.published is None
            for ordinal, shard in sorted(job.shards.items())
        ]
        assert stored == expected

    @invariant()
    def the_log_tells_an_unbroken_story(self) -> None:
        for job_id, job in self.jobs.items():
            rows = self.store.rows(
                f"SELECT from_status, to_status FROM job_log WHERE job_id = '{job_id}' ORDER BY id"
            )
            before, after = zip(*rows, strict=True)
            assert before == (None, *after[:-1])
            assert after[-1] == job.status


ShardWalk.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
test_any_walk_keeps_the_books = ShardWalk.TestCase
