"""What files were when they were stored, and what holds a clerk's work on a job up."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "file_digests",
        sa.Column("file_id", sa.Text, primary_key=True),
        sa.Column("blocks", sa.LargeBinary, nullable=False),
    )
    op.add_column("jobs", sa.Column("held_up_by", sa.Text))
