"""Lists in pages: a page begins after an object, not at a number, so that none shifts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, select, tuple_

from overnight.domain.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class PageRequest:
    """`after` is the id of the last object the caller has; `limit` None means all the rest."""

    after: str | None = None
    limit: int | None = None
    ascending: bool = False


def page_rows(
    tx: Connection,
    table: Table,
    tenant: str,
    condition: ColumnElement[bool],
    page: PageRequest,
) -> tuple[Sequence[Row[Any]], bool]:
    """Rows of `tenant` that meet `condition`, and whether more follow.

    Newest first unless `ascending`, ties by id. `after` need not meet the condition. Raises
    `InvalidRequest` when it is not the id of a row of the tenant.
    """
    key = tuple_(table.c.created_at, table.c.id)
    query = select(table).where(table.c.tenant == tenant, condition)
    if page.after is not None:
        cursor = _key_of(tx, table, tenant, page.after)
        query = query.where(key > cursor if page.ascending else key < cursor)
    if page.ascending:
        query = query.order_by(table.c.created_at, table.c.id)
    else:
        query = query.order_by(table.c.created_at.desc(), table.c.id.desc())
    if page.limit is None:
        return tx.execute(query).all(), False
    rows = tx.execute(query.limit(page.limit + 1)).all()
    return rows[: page.limit], len(rows) > page.limit


def _key_of(tx: Connection, table: Table, tenant: str, after: str) -> tuple[float, str]:
    row = tx.execute(
        select(table.c.created_at, table.c.id).where(table.c.id == after, table.c.tenant == tenant)
    ).one_or_none()
    if row is None:
        raise InvalidRequest(
            f"There is no object with id '{after[:80]}' to continue after; "
            "give the id of the last object of the page before.",
            param="after",
        )
    return row.created_at, row.id
