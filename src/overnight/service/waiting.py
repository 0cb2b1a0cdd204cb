"""Why a job does not move, in one sentence for the person who asks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from overnight.domain.job import PUBLISHING, TERMINAL, Job, JobStatus
from overnight.store.lanes import LaneRow

_MODELS_NAMED_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class Situation:
    """What the processes reported, at the unix time `now`."""

    clerk_alive: bool
    worker_alive: bool
    lanes: Sequence[LaneRow]
    now: float
    disk_full: bool = False


def why_waiting(job: Job, open_models: Sequence[str], situation: Situation) -> str | None:
    """None when nothing is known to stand in the way.

    `open_models` are the models of the requests without an outcome; one that can be sent is
    enough for the job to move.
    """
    status = job.status
    if status in TERMINAL:
        return None
    if situation.disk_full:
        return "waiting: the disk is full; it goes on by itself when there is room"
    if job.held_up_by is not None and situation.clerk_alive:
        return f"waiting: {job.held_up_by}"
    if status is JobStatus.VALIDATING or status in PUBLISHING:
        return None if situation.clerk_alive else "waiting: no clerk is running"
    if not situation.worker_alive:
        return "waiting: no worker is running"
    if not situation.lanes:
        return "waiting: no upstream is configured"
    reasons = [_why_model_waits(model, situation) for model in open_models]
    return reasons[0] if reasons and all(reasons) else None


def _why_model_waits(model: str, situation: Situation) -> str | None:
    lanes = situation.lanes
    candidates = [lane for lane in lanes if not lane.answered or _serves(lane, model)]
    if not candidates:
        return f"waiting: no upstream lists model '{model}'; there are: {_served(lanes)}"
    stops = [_why_lane_waits(lane, situation.now) for lane in candidates]
    return f"waiting: {stops[0]}" if all(stops) else None


def _serves(lane: LaneRow, model: str) -> bool:
    """An upstream that lists no models takes every one."""
    return not lane.models or model in lane.models


def _served(lanes: Sequence[LaneRow]) -> str:
    models = sorted({model for lane in lanes for model in lane.models or ()})
    more = len(models) - _MODELS_NAMED_MAX
    return ", ".join(models[:_MODELS_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def _why_lane_waits(lane: LaneRow, now: float) -> str | None:
    if lane.paused_reason is not None:
        again = ""
        if lane.paused_until is not None and lane.paused_until > now:
            again = f", next try in {math.ceil(lane.paused_until - now)} s"
        return f"upstream {lane.url} {lane.paused_reason}{again}"
    return None if lane.answered else f"upstream {lane.url} has not answered yet"
