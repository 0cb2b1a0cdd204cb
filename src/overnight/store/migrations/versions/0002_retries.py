"""How often requests were sent again: per job, and per shard while it is being worked on."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for table, name in (("jobs", "retries"), ("shards", "live_retries")):
        op.add_column(
            table, sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))
        )
