from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.domain.errors import Conflict
from overnight.domain.job import (
    PUBLISHING,
    TERMINAL,
    TRANSITIONS,
    Counts,
    Job,
    JobEvent,
    JobStatus,
    next_status,
)

S, E = JobStatus, JobEvent


def test_a_pair_of_state_and_event_has_its_place_in_the_table_or_is_a_conflict() -> None:
    for status, event in product(S, E):
        if (status, event) in TRANSITIONS:
            assert next_status(status, event) is TRANSITIONS[status, event]
        else:
            with pytest.raises(Conflict, match=status.value):
                next_status(status, event)


def test_the_terminal_states_are_the_four_ends_of_a_job() -> None:
    assert {S.COMPLETED, S.CANCELLED, S.EXPIRED, S.FAILED} == TERMINAL


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_nothing_leaves_a_terminal_state(status: JobStatus) -> None:
    assert {target for (source, _), target in TRANSITIONS.items() if source is status} <= {status}


def test_every_state_is_reached_from_validating_and_reaches_an_end() -> None:
    assert reachable(S.VALIDATING) == set(S)
    for status in S:
        assert reachable(status) & TERMINAL, status


def test_every_event_is_of_use_somewhere() -> None:
    assert {event for _, event in TRANSITIONS} == set(E)


def test_a_job_that_publishes_ends_with_publishing_or_salvaging_and_nothing_else() -> None:
    assert {S.FINALIZING, S.CANCELLING, S.EXPIRING, S.FAILING} == PUBLISHING
    for status in PUBLISHING:
        assert TRANSITIONS[status, E.PUBLISHED] in TERMINAL
        assert TRANSITIONS[status, E.SALVAGED] is S.FAILED
        leaving = {
            event
            for (source, event), target in TRANSITIONS.items()
            if source is status and target is not status
        }
        assert leaving == {E.PUBLISHED, E.SALVAGED}


@pytest.mark.parametrize("status", [S.FINALIZING, S.CANCELLING])
def test_the_deadline_is_nothing_to_a_job_that_is_finalizing_or_cancelling(
    status: JobStatus,
) -> None:
    assert (status, E.DEADLINE_PASSED) not in TRANSITIONS


@pytest.mark.parametrize("status", [S.CANCELLING, S.CANCELLED])
def test_cancelling_twice_changes_nothing(status: JobStatus) -> None:
    assert next_status(status, E.CANCEL_REQUESTED) is status


@pytest.mark.parametrize("status", [S.FINALIZING, S.EXPIRING, S.FAILING, S.COMPLETED, S.EXPIRED])
def test_it_is_too_late_to_cancel(status: JobStatus) -> None:
    with pytest.raises(Conflict):
        next_status(status, E.CANCEL_REQUESTED)


@pytest.mark.parametrize(
    ("event", "end"), [(E.CANCEL_REQUESTED, S.CANCELLED), (E.DEADLINE_PASSED, S.EXPIRED)]
)
def test_a_job_still_validating_ends_at_once(event: JobEvent, end: JobStatus) -> None:
    assert next_status(S.VALIDATING, event) is end


counts = st.builds(Counts, *[st.integers(0, 10**9)] * 4)


@given(counts, counts, counts)
def test_counts_add_up_in_any_order(a: Counts, b: Counts, c: Counts) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Counts() == a


@given(st.integers(1, 10**8), st.data())
def test_a_job_is_at_100_percent_only_when_every_request_has_its_outcome(
    total: int, data: st.DataObject
) -> None:
    finished = data.draw(st.integers(0, total) | st.just(total - 1))
    succeeded = data.draw(st.integers(0, finished))
    percent = job(total, Counts(succeeded, finished - succeeded)).percent_done
    assert 0.0 <= percent <= 100.0
    assert (percent == 100.0) == (finished == total)


@given(st.integers(1, 10**8), st.data())
def test_progress_does_not_fall_while_outcomes_come_in(total: int, data: st.DataObject) -> None:
    fewer, more = sorted(data.draw(st.tuples(st.integers(0, total), st.integers(0, total))))
    earlier, later = (job(total, Counts(succeeded=done)).percent_done for done in (fewer, more))
    assert earlier <= later


def test_a_job_without_a_total_has_not_begun_and_a_completed_one_is_done() -> None:
    assert job(0, Counts()).percent_done == 0.0
    assert job(7, Counts(0, 7), S.COMPLETED).percent_done == 100.0


def job(total: int, done: Counts, status: JobStatus = S.IN_PROGRESS) -> Job:
    return Job(
        id="batch_0a",
        tenant="local",
        endpoint="/v1/completions",
        input_file_id="file-0a",
        input_bytes=1,
        line_rules="",
        status=status,
        created_at=0.0,
        deadline=1.0,
        total=total,
        counts=done,
    )


def reachable(start: JobStatus) -> set[JobStatus]:
    seen, fresh = {start}, [start]
    while fresh:
        status = fresh.pop()
        following = {t for (source, _), t in TRANSITIONS.items() if source is status} - seen
        seen |= following
        fresh += following
    return seen
