"""What is sent when a job ends."""

import json

from overnight.domain.event import EVENT_OF_END, Event, EventType
from overnight.domain.job import TERMINAL, JobStatus


def test_every_end_of_a_job_is_an_event_and_nothing_else() -> None:
    assert EVENT_OF_END.keys() == TERMINAL
    assert sorted(EVENT_OF_END.values()) == sorted(EventType)
    assert all(kind == f"batch.{status.value}" for status, kind in EVENT_OF_END.items())


def test_body() -> None:
    event = Event.of_end("batch_0a1b", JobStatus.COMPLETED, 1_700_000_000.9)
    assert json.loads(event.body()) == {
        "id": "evt_0a1b",
        "object": "event",
        "created_at": 1_700_000_000,
        "type": "batch.completed",
        "data": {"id": "batch_0a1b"},
    }


def test_a_delivery_has_the_same_id_each_time_and_others_another() -> None:
    event, other = (Event.of_end(job, JobStatus.FAILED, 1.0) for job in ("batch_a", "batch_b"))
    assert event.delivery_id("we_1") == event.delivery_id("we_1")
    ids = {one.delivery_id(webhook) for one in (event, other) for webhook in ("we_1", "we_2")}
    assert len(ids) == 4
    assert all(one.startswith("wh_") for one in ids)
