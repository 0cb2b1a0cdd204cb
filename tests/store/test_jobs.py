import ast
from dataclasses import replace
from pathlib import Path

import pytest

import overnight
from overnight.domain.errors import Conflict, InvalidRequest, LeaseLost, NotFound
from overnight.domain.job import Counts, JobEvent, JobStatus
from overnight.domain.request import Fault
from overnight.store import jobs, shards, tables, workers
from overnight.store.jobs import Accepted, JobClaim, Published
from support.store import Store, claim_one, new_job, plans_of, settlement, start_job

DONE = Published(JobEvent.PUBLISHED, "file-out", None, Counts(30, 0, 5, 7))


def claim_validation(store: Store, worker: str = "clerk1") -> JobClaim:
    (claim,) = store.do(jobs.claim_validation, worker, 1)
    return claim


def claim_publishing(store: Store, worker: str = "clerk1") -> JobClaim:
    (claim,) = store.do(jobs.claim_publishing, worker, 1)
    return claim


def finish_all(store: Store) -> None:
    while claims := store.do(shards.claim, "w1", None, 1, 2_000.0):
        assert store.do(shards.settle, "w1", [settlement(claims[0])], 2_500.0) == []


def test_a_job_comes_back_as_it_was_created(store: Store) -> None:
    job = new_job(metadata={"näme": "☃"}, priority=3, completion_window="24h")
    store.do(jobs.create, job)
    assert store.do(jobs.get, job.id) == replace(job, entered_at={JobStatus.VALIDATING: 1_000.0})


def test_a_job_of_somebody_else_is_not_found(store: Store) -> None:
    store.do(jobs.create, new_job())
    assert store.do(jobs.get, "batch_a", "local").id == "batch_a"
    with pytest.raises(NotFound, match="No batch found with id 'batch_a'") as caught:
        store.do(jobs.get, "batch_a", "somebody else")
    assert (caught.value.param, caught.value.code) == ("batch_id", "not_found")


def test_pages_go_from_new_to_old_and_break_ties_by_id(store: Store) -> None:
    for job_id, created_at in [("b1", 1.0), ("b2", 2.0), ("b3", 2.0), ("b4", 2.0), ("b5", 3.0)]:
        store.do(jobs.create, new_job(job_id, created_at=created_at))
    store.do(jobs.create, new_job("b6", tenant="somebody else"))

    def page(after: str | None, limit: int | None) -> tuple[list[str], bool]:
        found, more = store.do(jobs.page, "local", after, limit)
        return [job.id for job in found], more

    assert page(None, None) == (["b5", "b4", "b3", "b2", "b1"], False)
    assert page(None, 2) == (["b5", "b4"], True)
    assert page("b4", 2) == (["b3", "b2"], True)
    assert page("b3", 2) == (["b2", "b1"], False)
    assert page("b2", 2) == (["b1"], False)
    assert page("b1", 2) == ([], False)


@pytest.mark.parametrize("after", ["no such job", "b6"])
def test_a_page_after_no_job_of_the_tenant_is_refused(store: Store, after: str) -> None:
    store.do(jobs.create, new_job("b6", tenant="somebody else"))
    with pytest.raises(InvalidRequest, match="to continue after") as caught:
        store.do(jobs.page, "local", after, 2)
    assert caught.value.param == "after"


def test_a_list_may_be_longer_than_a_statement_has_parameters(store: Store) -> None:
    count = 33_000
    store.do(jobs.create, new_job("b00000"))
    others = ", ".join(c.name for c in tables.jobs.c if c.name not in ("id", "status"))
    store.do(
        lambda tx: tx.exec_driver_sql(
            f"INSERT INTO jobs (id, status, {others})"
            f" SELECT printf('c%05d', value), 'in_progress', {others} FROM jobs,"
            f" (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n"
            f" WHERE value < {count}) SELECT value FROM n)"
        )
    )
    found, more = store.do(jobs.page, "local")
    assert (len(found), more) == (count + 1, False)


def test_advance_logs_who_came_from_where_and_why(store: Store) -> None:
    start_job(store)
    status = store.do(jobs.advance, "batch_a", JobEvent.CORRUPTED, 1_500.0, "plan is short")
    assert status is JobStatus.FAILING
    rows = store.rows("SELECT event, from_status, to_status, at, why FROM job_log ORDER BY id")
    assert rows == [
        ("created", None, "validating", 1_000.0, ""),
        ("accepted", "validating", "in_progress", 1_001.0, ""),
        ("corrupted", "in_progress", "failing", 1_500.0, "plan is short"),
    ]
    assert store.do(jobs.get, "batch_a").entered_at == {
        JobStatus.VALIDATING: 1_000.0,
        JobStatus.IN_PROGRESS: 1_001.0,
        JobStatus.FAILING: 1_500.0,
    }


def test_an_event_that_changes_nothing_writes_nothing(store: Store) -> None:
    start_job(store)
    store.do(jobs.advance, "batch_a", JobEvent.CANCEL_REQUESTED, 1_500.0)
    before = store.rows("SELECT * FROM job_log"), store.rows("SELECT * FROM jobs")
    again = store.do(jobs.advance, "batch_a", JobEvent.CANCEL_REQUESTED, 1_600.0)
    assert again is JobStatus.CANCELLING
    assert (store.rows("SELECT * FROM job_log"), store.rows("SELECT * FROM jobs")) == before


def test_an_impossible_event_is_a_conflict_and_writes_nothing(store: Store) -> None:
    store.do(jobs.create, new_job())
    with pytest.raises(Conflict, match="validating can not be published"):
        store.do(jobs.advance, "batch_a", JobEvent.PUBLISHED, 1_500.0)
    assert len(store.rows("SELECT * FROM job_log")) == 1


def test_advancing_no_job_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        store.do(jobs.advance, "batch_x", JobEvent.ACCEPTED, 1.0)


def statements_that_set_a_status(tree: ast.AST) -> list[str]:
    """Each `update(jobs)….values(status=…)` there is, as it is written."""
    return [
        ast.unparse(call)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and "update(jobs)" in ast.unparse(call.func)
        and any(keyword.arg == "status" for keyword in call.keywords)
    ]


def test_advance_is_the_only_writer_of_a_status() -> None:
    program = Path(overnight.__file__).parent
    trees = [ast.parse(path.read_text()) for path in program.rglob("*.py")]
    (only,) = (found for tree in trees for found in statements_that_set_a_status(tree))
    source = ast.parse(Path(jobs.__file__).read_text())
    assert f"_ADVANCE: Final = {only}" in ast.unparse(source)
    users = [
        function.name
        for function in ast.walk(source)
        if isinstance(function, ast.FunctionDef) and "_ADVANCE" in ast.unparse(function)
    ]
    assert users == ["advance"]


def test_validation_is_claimed_oldest_first_and_by_one_clerk(store: Store) -> None:
    store.do(jobs.create, new_job("b2", created_at=2.0))
    store.do(jobs.create, new_job("b1", created_at=1.0))
    assert store.do(jobs.has_work_for_clerk)
    first, second = claim_validation(store, "clerk1"), claim_validation(store, "clerk2")
    assert [first.job.id, second.job.id] == ["b1", "b2"]
    assert (first.epoch, first.worker) == (1, "clerk1")
    assert store.do(jobs.claim_validation, "clerk3", 1) == []
    assert not store.do(jobs.has_work_for_clerk)


def test_accepting_starts_the_job_and_ends_the_claim(store: Store) -> None:
    store.do(jobs.create, new_job())
    claim = claim_validation(store)
    plans = plans_of(["m", "n"])
    store.do(jobs.accept, claim, iter(plans), Accepted(20, None), 1_100.0)
    job = store.do(jobs.get, "batch_a")
    assert (job.status, job.total, job.model) == (JobStatus.IN_PROGRESS, 20, None)
    assert [row.plan for row in store.do(shards.of_job, "batch_a")] == plans
    assert store.do(jobs.claimed_by, "clerk1") == set()
    with pytest.raises(LeaseLost):
        store.do(jobs.accept, claim, plans, Accepted(20, None), 1_200.0)


def test_a_job_without_shards_has_nothing_to_wait_for(store: Store) -> None:
    store.do(jobs.create, new_job())
    store.do(jobs.accept, claim_validation(store), [], Accepted(0, None), 1_100.0)
    assert claim_publishing(store).job.status is JobStatus.FINALIZING


def test_rejecting_keeps_the_faults(store: Store) -> None:
    store.do(jobs.create, new_job())
    faults = [Fault("invalid_json_line", "It is no JSON.", 3), Fault("empty_file", "Empty.")]
    store.do(jobs.reject, claim_validation(store), faults, 1_100.0)
    job = store.do(jobs.get, "batch_a")
    assert (job.status, job.faults, job.failure) == (JobStatus.FAILED, tuple(faults), None)
    assert store.rows("SELECT why FROM job_log WHERE event = 'rejected'") == [("2 faults",)]


@pytest.mark.parametrize("event", [JobEvent.CANCEL_REQUESTED, JobEvent.DEADLINE_PASSED])
def test_a_validated_job_that_went_another_way_is_not_accepted(
    store: Store, event: JobEvent
) -> None:
    store.do(jobs.create, new_job())
    claim = claim_validation(store)
    ended = store.do(jobs.advance, "batch_a", event, 1_050.0)
    assert store.do(jobs.claimed_by, "clerk1") == set()
    with pytest.raises(LeaseLost, match="batch_a"):
        store.do(jobs.accept, claim, plans_of(["m"]), Accepted(10, "m"), 1_100.0)
    assert store.do(jobs.get, "batch_a").status is ended
    assert store.do(shards.of_job, "batch_a") == []


def test_a_clerk_declared_dead_can_not_write(store: Store) -> None:
    store.do(workers.register, "clerk1", "clerk", 1_000.0, 1_015.0)
    store.do(jobs.create, new_job())
    stale = claim_validation(store, "clerk1")
    assert store.do(workers.reclaim, ["clerk1"], 1_020.0) == 1
    assert store.do(jobs.claimed_by, "clerk1") == set()
    fresh = claim_validation(store, "clerk2")
    assert fresh.epoch > stale.epoch
    with pytest.raises(LeaseLost):
        store.do(jobs.reject, stale, [], 1_100.0)
    assert store.do(jobs.claimed_by, "clerk2") == {("batch_a", fresh.epoch)}
    assert store.do(jobs.get, "batch_a").status is JobStatus.VALIDATING


def test_several_are_claimed_at_once_in_the_order_of_their_turn(store: Store) -> None:
    for name, created_at, priority in (("b3", 1.0, 0), ("b1", 3.0, 5), ("b2", 2.0, 5)):
        store.do(jobs.create, new_job(name, created_at=created_at, priority=priority))
    claims = store.do(jobs.claim_validation, "clerk1", 2)
    assert [claim.job.id for claim in claims] == ["b2", "b1"]
    assert [claim.job.id for claim in store.do(jobs.claim_validation, "clerk2", 5)] == ["b3"]


def test_a_clerk_can_not_write_under_a_claim_of_its_past(store: Store) -> None:
    store.do(jobs.create, new_job())
    past = claim_validation(store)
    store.do(workers.reclaim_all, 1_020.0)
    present = claim_validation(store)
    assert store.do(jobs.claimed_by, "clerk1") == {("batch_a", present.epoch)}
    with pytest.raises(LeaseLost):
        store.do(jobs.reject, past, [], 1_100.0)
    store.do(jobs.reject, present, [Fault("in_time", "It is.")], 1_100.0)
    assert [fault.code for fault in store.do(jobs.get, "batch_a").faults] == ["in_time"]


def test_publishing_waits_until_no_worker_holds_a_shard(store: Store) -> None:
    start_job(store)
    held = claim_one(store)
    store.do(jobs.advance, "batch_a", JobEvent.CANCEL_REQUESTED, 2_100.0)
    assert not store.do(jobs.has_work_for_clerk)
    assert store.do(jobs.claim_publishing, "clerk1", 1) == []
    store.do(shards.settle, "w1", [settlement(held)], 2_300.0)
    assert store.do(jobs.has_work_for_clerk)
    assert claim_publishing(store).job.status is JobStatus.CANCELLING
    assert store.do(jobs.claim_publishing, "clerk2", 1) == []


def test_publishing_ends_the_job(store: Store) -> None:
    start_job(store)
    finish_all(store)
    claim = claim_publishing(store)
    assert claim.job.status is JobStatus.FINALIZING
    store.do(jobs.publish, claim, DONE, 3_100.0)
    job = store.do(jobs.get, "batch_a")
    assert job.status is JobStatus.COMPLETED
    assert (job.output_file_id, job.error_file_id, job.counts) == ("file-out", None, DONE.counts)
    assert job.entered_at[JobStatus.COMPLETED] == 3_100.0
    assert store.do(shards.of_job, "batch_a") == []
    with pytest.raises(LeaseLost):
        store.do(jobs.publish, claim, DONE, 3_200.0)


def test_what_could_not_be_read_back_fails_the_job(store: Store) -> None:
    start_job(store)
    finish_all(store)
    salvaged = replace(DONE, event=JobEvent.SALVAGED, failure="3 results are lost.")
    store.do(jobs.publish, claim_publishing(store), salvaged, 3_100.0)
    job = store.do(jobs.get, "batch_a")
    assert (job.status, job.failure) == (JobStatus.FAILED, "3 results are lost.")


def test_deadlines_pass_for_jobs_that_have_not_gone_further(store: Store) -> None:
    start_job(store, "running", deadline=200.0)
    start_job(store, "finalizing", deadline=100.0)
    store.do(jobs.advance, "finalizing", JobEvent.ALL_SETTLED, 1_500.0)
    store.do(jobs.create, new_job("validating", deadline=150.0))
    store.do(jobs.create, new_job("later", deadline=400.0))
    assert store.do(jobs.past_deadline, 149.9, 10) == []
    assert store.do(jobs.past_deadline, 200.0, 10) == ["validating", "running"]
    assert store.do(jobs.past_deadline, 200.0, 1) == ["validating"]


def test_counts_are_settled_and_live_ones_together(store: Store) -> None:
    start_job(store)
    first, second = claim_one(store), claim_one(store)
    store.do(shards.settle, "w1", [settlement(first, Counts(8, 2, 3, 4))], 2_100.0)
    progress = shards.Progress(second.job_id, second.ordinal, second.epoch, Counts(1, 1, 10, 20))
    store.do(shards.renew_progress, "w1", [progress])
    job = store.do(jobs.get, "batch_a")
    assert job.counts == Counts(9, 3, 13, 24)
    assert job.percent_done == 40.0
    assert store.do(jobs.page, "local")[0][0] == job
