"""The end of a round held against what was asked for and what was answered."""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from chaos.frame import Tally
from chaos.recorder import Recorder, Sending
from chaos.user import Order, lines_of
from overnight.node import DATABASE_NAME

LATE_SECONDS = 1.0
"""How long before a kill a reply may have been written and still be lost with the process.

The promise is 50 ms from its arrival; the rest is what a busy machine takes to hand it over.
"""


@dataclass(slots=True)
class Troubles:
    """When a worker could not write: from and to, on the monotonic clock."""

    spans: list[tuple[float, float]] = field(default_factory=list)

    def excuse(self, sending: Sending) -> bool:
        """Was its reply lost with a worker, or might it have been?"""
        ended = float("inf") if sending.ended is None else sending.ended + LATE_SECONDS
        return any(begin <= ended and sending.began <= end for begin, end in self.spans)


def check_orders(
    orders: Iterable[Order], recorder: Recorder, troubles: Troubles, tally: Tally
) -> None:
    """Every line of every order, and everything that was sent more than once."""
    for order in orders:
        tally.jobs += 1
        tally.requests += order.requests
        _check_order(order, recorder, tally)
    _check_repeats(recorder, troubles, tally)


def _check_order(order: Order, recorder: Recorder, tally: Tally) -> None:
    job = order.job
    assert job is not None, f"{order.name} never ended"
    whole = "cancelled" if order.cancelled else "completed"
    # A cancel that came when all was done changes nothing.
    assert job.status in (whole, "completed"), f"{order.name} is {job.status}: {job.failure}"
    output, errors = lines_of(order.output), lines_of(order.errors)
    told = [json.loads(line)["custom_id"] for line in (*output, *errors)]
    tally.missing += len(set(order.ids) - set(told))
    tally.twice += len(told) - len(set(told))
    assert sorted(told) == sorted(order.ids), f"{order.name}: {_difference(order.ids, told)}"
    _check_sequence(order, told[: len(output)])
    _check_sequence(order, told[len(output) :])
    counts = (job.total, job.succeeded, job.failed)
    assert counts == (order.requests, len(output), len(errors)), f"{order.name} counts {counts}"
    assert job.status == "cancelled" or not errors, f"{order.name} has {errors[0]!r}"
    for line in output:
        _check_success(line, recorder)
    for line in errors:
        code = json.loads(line)["error"]["code"]
        assert code == "batch_cancelled", f"{order.name} has {line!r}"


def _difference(asked: Collection[str], told: Collection[str]) -> str:
    lost, extra = Counter(asked) - Counter(told), Counter(told) - Counter(asked)
    return f"{len(lost)} are missing {list(lost)[:3]}, {len(extra)} too many {list(extra)[:3]}"


def _check_sequence(order: Order, told: Sequence[str]) -> None:
    numbers = [int(custom_id.rpartition(" ")[2]) for custom_id in told]
    assert numbers == sorted(numbers), f"{order.name}: not in the order of the input"


def _check_success(line: bytes, recorder: Recorder) -> None:
    custom_id = json.loads(line)["custom_id"]
    sent = recorder.sendings.get(f"Say {custom_id}.", [])
    given = [one.body for one in sent if one.status == 200]
    assert any(b'"body":%b}' % body in line for body in given), (
        f"{line!r} is none of the {len(given)} replies to it"
    )


def _check_repeats(recorder: Recorder, troubles: Troubles, tally: Tally) -> None:
    for said, sent in recorder.sendings.items():
        for before in sent[:-1]:
            if before.status != 200:
                continue
            tally.sent_again += 1
            assert troubles.excuse(before), (
                f"{said!r} was sent again for no reason: {before.began:.3f} to {before.ended}, "
                f"troubles {troubles.spans}"
            )


def check_at_rest(data_dir: Path, orders: Sequence[Order]) -> None:
    """After an orderly stop: a sound database, no claims, one job for each order, all bytes."""
    queries = {
        "workers": "select count(*) from workers",
        "lanes": "select count(*) from lanes where worker is not null",
        "shards": "select count(*) from shards where worker is not null",
        "jobs": "select count(*) from jobs where clerk is not null",
    }
    with closing(sqlite3.connect(data_dir / DATABASE_NAME)) as database:
        assert database.execute("pragma integrity_check").fetchall() == [("ok",)]
        held = {name: database.execute(query).fetchone()[0] for name, query in queries.items()}
        made = database.execute("select count(*) from jobs").fetchone()[0]
        query = "select id from files where status = 'ready' and deleted_at is null"
        told = {row[0] for row in database.execute(query)}
    assert not any(held.values()), f"claims are left: {held}"
    assert made == len(orders), f"{made} jobs were made of {len(orders)} orders"
    stored = {path.name for path in (data_dir / "files").rglob("*") if path.is_file()}
    assert told <= stored, f"files without bytes: {told - stored}"


def check_log(log: Path) -> None:
    """Whatever was done to the processes, none met what it does not know."""
    lines = log.read_text(errors="replace").splitlines()
    defects = [line for line in lines if "died of an exception" in line or "Traceback" in line]
    assert not defects, f"{len(defects)} in the log, first {defects[0]!r}"


def leases_held(data_dir: Path) -> int:
    """By processes that are at work; who is only starting has none."""
    with closing(sqlite3.connect(data_dir / DATABASE_NAME)) as database:
        query = "select count(*) from workers where until > ?"
        count: int = database.execute(query, (time.time(),)).fetchone()[0]
        return count
