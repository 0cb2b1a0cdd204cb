from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from overnight.domain.errors import InvalidRequest, NotFound
from overnight.domain.event import Event, EventType
from overnight.domain.job import JobEvent, JobStatus
from overnight.domain.webhook import Attempt, DeliveryStatus, OldSecret, Webhook
from overnight.store import jobs, webhooks
from overnight.store.paging import PageRequest
from overnight.store.webhooks import AttemptResult
from support.store import Store, new_job

EVERYTHING = PageRequest()


def new_webhook(webhook_id: str = "we_a", **changes: Any) -> Webhook:
    webhook = Webhook(
        id=webhook_id,
        tenant="local",
        name="hook",
        url="https://hook.example/",
        event_types=tuple(EventType),
        secret="whsec_AAAA",
        created_at=1_000.0,
        updated_at=1_000.0,
    )
    return replace(webhook, **changes)


def ended(job_id: str = "batch_a", at: float = 2_000.0) -> Event:
    return Event.of_end(job_id, JobStatus.COMPLETED, at)


def due(store: Store, now: float = 3_000.0, per_webhook: int = 10, *under_way: str) -> list[str]:
    found = store.do(webhooks.due, now, per_webhook, frozenset(under_way))
    return [delivery.id for _, delivery in found]


def of_webhook(store: Store, webhook_id: str = "we_a") -> Any:
    return store.do(webhooks.deliveries, webhook_id, "local", EVERYTHING)[0]


# Webhooks


def test_what_is_added_is_read_back(store: Store) -> None:
    webhook = new_webhook(old_secrets=(OldSecret("whsec_BBBB", 5.0),))
    store.do(webhooks.add, webhook)
    assert store.do(webhooks.get, "we_a", "local") == webhook
    changed = replace(webhook, url="https://b", event_types=(EventType.FAILED,), old_secrets=())
    store.do(webhooks.save, changed)
    assert store.do(webhooks.get, "we_a", "local") == changed


def test_others_do_not_find_it(store: Store) -> None:
    store.do(webhooks.add, new_webhook())
    with pytest.raises(NotFound):
        store.do(webhooks.get, "we_a", "other")
    assert store.do(webhooks.page, "other", EVERYTHING) == ([], False)
    assert store.do(webhooks.count, "other") == 0


def test_a_deleted_one_is_gone_with_its_deliveries_and_secrets(store: Store) -> None:
    for number in range(3):
        store.do(webhooks.add, new_webhook(f"we_{number}", created_at=float(number)))
    store.do(webhooks.post, "local", ended())
    store.do(webhooks.remove, "we_1", 3_000.0)
    with pytest.raises(NotFound):
        store.do(webhooks.get, "we_1", "local")
    assert store.do(webhooks.count, "local") == 2
    assert store.rows("SELECT secret, old_secrets FROM webhooks WHERE id = 'we_1'") == [("", "[]")]
    assert len(due(store)) == 2
    # Lists go on after it.
    rest, more = store.do(webhooks.page, "local", PageRequest(after="we_1"))
    assert ([one.id for one in rest], more) == (["we_0"], False)
    with pytest.raises(InvalidRequest):
        store.do(webhooks.page, "local", PageRequest(after="we_9"))


# The outbox


def cancel(store: Store) -> None:
    store.do(jobs.advance, "batch_a", JobEvent.CANCEL_REQUESTED, 2_000.0)


def expire(store: Store) -> None:
    store.do(jobs.advance, "batch_a", JobEvent.DEADLINE_PASSED, 2_000.0)


def reject(store: Store) -> None:
    (claim,) = store.do(jobs.claim_validation, "c", 1)
    store.do(jobs.reject, claim, [], 2_000.0)


def complete(store: Store) -> None:
    (claim,) = store.do(jobs.claim_validation, "c", 1)
    store.do(jobs.accept, claim, [], jobs.Accepted(0, None), 1_500.0)
    (claim,) = store.do(jobs.claim_publishing, "c", 1)
    published = jobs.Published(JobEvent.PUBLISHED, None, None, claim.job.counts)
    store.do(jobs.publish, claim, published, 2_000.0)


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (cancel, EventType.CANCELLED),
        (expire, EventType.EXPIRED),
        (reject, EventType.FAILED),
        (complete, EventType.COMPLETED),
    ],
)
def test_every_end_of_a_job_is_posted_with_it(
    store: Store, end: Callable[[Store], None], kind: EventType
) -> None:
    store.do(webhooks.add, new_webhook())
    store.do(jobs.create, new_job())
    assert of_webhook(store) == []
    end(store)
    (delivery,) = of_webhook(store)
    assert delivery.event == Event("evt_a", kind, "batch_a", 2_000.0)
    assert (delivery.status, delivery.next_at) == (DeliveryStatus.PENDING, 2_000.0)


def test_who_does_not_want_it_does_not_get_it(store: Store) -> None:
    store.do(webhooks.add, new_webhook("we_failed", event_types=(EventType.FAILED,)))
    store.do(webhooks.add, new_webhook("we_other", tenant="other"))
    store.do(webhooks.add, new_webhook("we_gone"))
    store.do(webhooks.remove, "we_gone", 1_500.0)
    store.do(webhooks.add, new_webhook("we_all"))
    store.do(webhooks.post, "local", ended())
    assert due(store) == [ended().delivery_id("we_all")]


def test_due_is_what_is_not_under_way_some_of_each_the_longest_due_first(store: Store) -> None:
    store.do(webhooks.add, new_webhook("we_a"))
    store.do(webhooks.add, new_webhook("we_b", event_types=(EventType.FAILED,)))
    for number in range(5):
        store.do(webhooks.post, "local", ended(f"batch_{number}", 2_000.0 - number))
    store.do(webhooks.post, "local", Event.of_end("batch_f", JobStatus.FAILED, 2_500.0))
    ids = [ended(f"batch_{number}").delivery_id("we_a") for number in (4, 3, 2, 1, 0)]
    assert due(store, 2_001.0) == ids
    assert due(store, 2_001.0, 2) == ids[:2]
    assert due(store, 2_001.0, 2, ids[0], ids[2]) == [ids[1], ids[3]]
    assert due(store, 1_996.5) == ids[:1]
    assert len(due(store, 3_000.0, 2)) == 3


def test_an_attempt_is_recorded_once(store: Store) -> None:
    store.do(webhooks.add, new_webhook())
    store.do(webhooks.post, "local", ended())
    (delivery_id,) = due(store)
    failed = AttemptResult(delivery_id, 0, Attempt(error="refuses connections"), 3_000.0, 3_005.0)
    assert store.do(webhooks.record, failed)
    assert not store.do(webhooks.record, failed)
    assert due(store, 3_004.0) == []
    done = AttemptResult(delivery_id, 1, Attempt(204), 3_005.0, None)
    assert store.do(webhooks.record, done)
    assert due(store, 9e9) == []
    (delivery,) = of_webhook(store)
    assert (delivery.status, delivery.attempts) == (DeliveryStatus.DELIVERED, 2)
    assert (delivery.last_status, delivery.last_error) == (204, None)
    assert delivery.delivered_at == delivery.last_at == 3_005.0


def test_without_another_attempt_it_is_given_up(store: Store) -> None:
    store.do(webhooks.add, new_webhook())
    store.do(webhooks.post, "local", ended())
    store.do(webhooks.record, AttemptResult(due(store)[0], 0, Attempt(500), 3_000.0, None))
    (delivery,) = of_webhook(store)
    assert (delivery.status, delivery.last_status) == (DeliveryStatus.GIVEN_UP, 500)


def test_only_what_is_old_and_has_ended_is_forgotten(store: Store) -> None:
    store.do(webhooks.add, new_webhook())
    for job, at in (("batch_a", 1.0), ("batch_b", 2.0), ("batch_c", 3.0)):
        store.do(webhooks.post, "local", ended(job, at))
    old, _, new = due(store)
    for one in (old, new):
        store.do(webhooks.record, AttemptResult(one, 0, Attempt(200), 4.0, None))
    assert store.do(webhooks.forgettable, 3.0) == [old]
    store.do(webhooks.forget, [old])
    assert [delivery.event.job_id for delivery in of_webhook(store)] == ["batch_c", "batch_b"]


def test_what_runs_often_reads_no_whole_outbox(store: Store) -> None:
    store.do(webhooks.add, new_webhook())
    store.do(webhooks.post, "local", ended())
    with store.plans() as steps:
        due(store)
        of_webhook(store)
        store.do(webhooks.forgettable, 1.0)
    assert steps
    assert not [step for step in steps if step.startswith("SCAN webhook_deliveries")]
    assert any("deliveries_pending" in step for step in steps)
