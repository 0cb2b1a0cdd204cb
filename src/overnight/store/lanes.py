"""Lanes: the claimed right to send to an upstream, and what its holder reports of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    delete,
    false,
    func,
    insert,
    select,
    tuple_,
    update,
)

from overnight.store.tables import lanes, workers


@dataclass(frozen=True, slots=True)
class LaneSpec:
    """A lane as configured; the lanes of one upstream are numbered from 0."""

    url: str
    number: int


@dataclass(frozen=True, slots=True)
class LaneClaim:
    """A worker's right to one lane.

    `taken_over`: its last holder died, and what that one had in flight may still be running.
    """

    url: str
    number: int
    epoch: int
    taken_over: bool


@dataclass(frozen=True, slots=True)
class LaneReport:
    """What the holder saw. `models` None: the upstream lists none. `paused_until`: unix time."""

    url: str
    number: int
    epoch: int
    models: list[str] | None
    answered: bool
    paused_reason: str | None
    paused_until: float | None


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A lane, its holder if any, and the last report."""

    url: str
    number: int
    worker: str | None
    epoch: int
    models: list[str] | None
    answered: bool
    paused_reason: str | None
    paused_until: float | None


def sync(tx: Connection, wanted: Sequence[LaneSpec]) -> None:
    """Make the lanes those that are `wanted`; claims and reports of lanes that stay, stay."""
    want = {(spec.url, spec.number) for spec in wanted}
    have = {(url, number) for url, number in tx.execute(select(lanes.c.url, lanes.c.number))}
    if have - want:
        gone = tuple_(lanes.c.url, lanes.c.number).in_(sorted(have - want))
        tx.execute(delete(lanes).where(gone))
    if want - have:
        tx.execute(
            insert(lanes),
            [
                {"url": url, "number": number, "epoch": 0, "orphaned": False, "answered": False}
                for url, number in sorted(want - have)
            ],
        )


def claim(tx: Connection, worker: str, limit: int, now: float) -> list[LaneClaim]:
    """Claim up to `limit` lanes nobody holds, first lanes of upstreams before second ones.

    A worker never comes to hold more than its share: the lanes there are, divided by the
    workers whose lease runs at `now`, rounded up.
    """
    held = tx.scalar(select(func.count()).where(lanes.c.worker == worker)) or 0
    limit = min(limit, _share(tx, now) - held)
    if limit <= 0:
        return []
    free = tx.execute(
        select(lanes)
        .where(lanes.c.worker.is_(None))
        .order_by(lanes.c.number, lanes.c.url)
        .limit(limit)
    ).all()
    claims = []
    for row in free:
        taken = tx.execute(
            update(lanes)
            .where(_is(row.url, row.number), lanes.c.worker.is_(None), lanes.c.epoch == row.epoch)
            .values(worker=worker, epoch=row.epoch + 1, orphaned=false())
        ).rowcount
        if taken:
            claims.append(LaneClaim(row.url, row.number, row.epoch + 1, row.orphaned))
    return claims


def claimable(tx: Connection, worker: str, now: float) -> int:
    """How many lanes `claim` would give a worker, at most. Reads only."""
    free = tx.scalar(select(func.count()).where(lanes.c.worker.is_(None))) or 0
    held = tx.scalar(select(func.count()).where(lanes.c.worker == worker)) or 0
    return max(0, min(free, _share(tx, now) - held))


def release(tx: Connection, worker: str, claims: Iterable[LaneClaim]) -> None:
    """Hand lanes back; nothing may be in flight on them. Nothing happens to those lost."""
    for held in claims:
        tx.execute(
            update(lanes)
            .where(_is(held.url, held.number), _held(worker, held.epoch))
            .values(worker=None)
        )


def surplus(tx: Connection, worker: str, now: float) -> int:
    """How many lanes a worker holds beyond its share, because others have come since."""
    held = tx.scalar(select(func.count()).where(lanes.c.worker == worker)) or 0
    return max(0, held - _share(tx, now))


def report(tx: Connection, worker: str, reports: Iterable[LaneReport]) -> set[tuple[str, int]]:
    """Write what the holder saw; returns the lanes (url, number) it has lost."""
    lost = set()
    for seen in reports:
        touched = tx.execute(
            update(lanes)
            .where(_is(seen.url, seen.number), _held(worker, seen.epoch))
            .values(
                models=None if seen.models is None else msgspec.json.encode(seen.models).decode(),
                answered=seen.answered,
                paused_reason=seen.paused_reason,
                paused_until=seen.paused_until,
            )
        ).rowcount
        if not touched:
            lost.add((seen.url, seen.number))
    return lost


def all(tx: Connection) -> list[LaneRow]:
    """Every lane, by url and number."""
    rows = tx.execute(select(lanes).order_by(lanes.c.url, lanes.c.number))
    return [_to_lane(row) for row in rows]


def _share(tx: Connection, now: float) -> int:
    lane_count = tx.scalar(select(func.count()).select_from(lanes)) or 0
    running = select(func.count()).where(workers.c.role == "worker", workers.c.until > now)
    return -(-lane_count // max(1, tx.scalar(running) or 0))


def _is(url: str, number: int) -> ColumnElement[bool]:
    return and_(lanes.c.url == url, lanes.c.number == number)


def _held(worker: str, epoch: int) -> ColumnElement[bool]:
    return and_(lanes.c.worker == worker, lanes.c.epoch == epoch)


def _to_lane(row: Row[Any]) -> LaneRow:
    return LaneRow(
        url=row.url,
        number=row.number,
        worker=row.worker,
        epoch=row.epoch,
        models=None if row.models is None else msgspec.json.decode(row.models, type=list[str]),
        answered=row.answered,
        paused_reason=row.paused_reason,
        paused_until=row.paused_until,
    )
