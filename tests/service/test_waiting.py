"""Why a job waits: the first thing in its way, in one sentence."""

from dataclasses import replace

import pytest

from overnight.domain.job import PUBLISHING, TERMINAL, JobStatus
from overnight.service.waiting import Situation, why_waiting
from overnight.store.lanes import LaneRow
from support.store import new_job

A = LaneRow("http://a/v1", 0, "w", 1, ["x"], True, None, None)
B = replace(A, url="http://b/v1", models=["y", "z"])
ANY = replace(A, url="http://any/v1", models=None)
SILENT = replace(A, url="http://silent/v1", models=None, answered=False)
GOING = Situation(clerk_alive=True, worker_alive=True, lanes=[A, B], now=100.0)


def paused(lane: LaneRow, until: float | None = 103.2) -> LaneRow:
    return replace(lane, paused_reason="refuses connections", paused_until=until)


def in_progress(models: list[str], *lanes: LaneRow) -> str | None:
    return why_waiting(new_job(status=JobStatus.IN_PROGRESS), models, replace(GOING, lanes=lanes))


@pytest.mark.parametrize("status", JobStatus)
def test_a_job_waits_for_the_process_that_moves_it(status: JobStatus) -> None:
    dead = replace(GOING, clerk_alive=False, worker_alive=False)
    job = new_job(status=status)
    assert why_waiting(job, ["x"], GOING) is None
    if status in TERMINAL:
        assert why_waiting(job, ["x"], dead) is None
    elif status is JobStatus.VALIDATING or status in PUBLISHING:
        assert why_waiting(job, ["x"], dead) == "waiting: no clerk is running"
    else:
        assert why_waiting(job, ["x"], dead) == "waiting: no worker is running"


@pytest.mark.parametrize("status", sorted(set(JobStatus) - TERMINAL))
def test_a_disk_that_refuses_holds_every_job_up(status: JobStatus) -> None:
    full = replace(GOING, disk_full=True)
    told = "waiting: the disk is full; it goes on by itself when there is room"
    assert why_waiting(new_job(status=status), ["x"], full) == told
    held_up = new_job(status=status, held_up_by="the disk refuses: Input/output error")
    told = "waiting: the disk refuses: Input/output error"
    assert why_waiting(held_up, ["x"], GOING) == told


def test_no_upstream() -> None:
    assert in_progress(["x"]) == "waiting: no upstream is configured"


def test_a_model_that_nobody_lists_names_those_there_are() -> None:
    assert in_progress(["q"], A, B) == "waiting: no upstream lists model 'q'; there are: x, y, z"
    many = replace(A, models=[f"m{n:02}" for n in range(13)])
    why = in_progress(["q"], many)
    assert why is not None
    assert why.endswith("m08, m09 and 3 more")


def test_an_upstream_that_lists_none_takes_every_model() -> None:
    assert in_progress(["q"], A, ANY) is None


def test_an_upstream_that_has_not_answered_may_still_list_the_model() -> None:
    silent = "waiting: upstream http://silent/v1 has not answered yet"
    assert in_progress(["q"], A, SILENT) == silent
    assert in_progress(["x"], A, SILENT) is None


def test_all_that_serve_the_model_are_paused() -> None:
    sentence = "waiting: upstream http://a/v1 refuses connections, next try in 4 s"
    assert in_progress(["x"], paused(A), B) == sentence
    assert in_progress(["x"], paused(A), paused(replace(A, number=1))) == sentence
    assert in_progress(["x"], paused(A), replace(A, url="http://c/v1")) is None
    assert in_progress(["x"], paused(A, None)) == sentence.removesuffix(", next try in 4 s")
    assert in_progress(["x"], paused(A, 99.0)) == sentence.removesuffix(", next try in 4 s")


def test_one_model_that_can_be_sent_is_enough() -> None:
    assert in_progress(["x", "y"], paused(A), B) is None
    why = in_progress(["q", "x"], paused(A), B)
    assert why is not None
    assert "'q'" in why


def test_a_job_whose_requests_all_have_their_outcome_does_not_wait() -> None:
    assert in_progress([], paused(A)) is None
