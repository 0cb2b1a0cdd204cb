"""How jobs were asked for, and how long their results are kept."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("output_expires_after_seconds", sa.BigInteger))
    for name in ("sender", "request_digest", "idempotency_key"):
        op.add_column("jobs", sa.Column(name, sa.Text))
    op.create_index(
        "jobs_live",
        "jobs",
        ["tenant", "status"],
        sqlite_where=sa.text("(status NOT IN ('cancelled', 'completed', 'expired', 'failed'))"),
    )
    op.create_index(
        "jobs_by_idempotency_key",
        "jobs",
        ["tenant", "idempotency_key"],
        unique=True,
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
    )
