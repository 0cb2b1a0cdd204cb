"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_jobs()
    _create_shards()
    _create_workers_and_lanes()
    _create_files()


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("input_file_id", sa.Text, nullable=False),
        sa.Column("input_bytes", sa.BigInteger, nullable=False),
        sa.Column("line_rules", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("deadline", sa.Float, nullable=False),
        sa.Column("completion_window", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("succeeded", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_file_id", sa.Text),
        sa.Column("error_file_id", sa.Text),
        sa.Column("faults", sa.Text, nullable=False),
        sa.Column("failure", sa.Text),
        sa.Column("clerk", sa.Text),
        sa.Column("clerk_epoch", sa.Integer, nullable=False),
        sa.Column("last_served_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("jobs_of_tenant", "jobs", ["tenant", "created_at", "id"])
    op.create_index(
        "jobs_by_turn",
        "jobs",
        ["status", sa.text("priority DESC"), "last_served_at", "created_at"],
    )
    op.create_index("jobs_claimed", "jobs", ["clerk"], sqlite_where=sa.text("clerk IS NOT NULL"))
    op.create_table(
        "job_log",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("from_status", sa.Text),
        sa.Column("to_status", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_job_log"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_log_job_id"),
    )
    op.create_index("job_log_of_job", "job_log", ["job_id"])


def _create_shards() -> None:
    op.create_table(
        "shards",
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("first_record", sa.BigInteger, nullable=False),
        sa.Column("requests", sa.Integer, nullable=False),
        sa.Column("body_bytes", sa.BigInteger, nullable=False),
        sa.Column("checksum", sa.BigInteger, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("fruitless_takeovers", sa.Integer, nullable=False),
        sa.Column("live_succeeded", sa.Integer, nullable=False),
        sa.Column("live_failed", sa.Integer, nullable=False),
        sa.Column("live_prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("live_completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("segment_epoch", sa.Integer),
        sa.Column("segment_bytes", sa.BigInteger),
        sa.Column("segment_digest", sa.BigInteger),
        sa.PrimaryKeyConstraint("job_id", "ordinal", name="pk_shards"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_shards_job_id"),
    )
    free = sa.text("segment_epoch IS NULL AND worker IS NULL")
    begun = sa.text("segment_epoch IS NULL AND epoch > 0")
    op.create_index("shards_free", "shards", ["job_id", "ordinal"], sqlite_where=free)
    op.create_index(
        "shards_free_of_model", "shards", ["job_id", "model", "ordinal"], sqlite_where=free
    )
    op.create_index("shards_begun", "shards", ["job_id"], sqlite_where=begun)
    op.create_index(
        "shards_claimed", "shards", ["worker"], sqlite_where=sa.text("worker IS NOT NULL")
    )


def _create_workers_and_lanes() -> None:
    op.create_table(
        "workers",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    op.create_table(
        "lanes",
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("orphaned", sa.Boolean, nullable=False),
        sa.Column("models", sa.Text),
        sa.Column("answered", sa.Boolean, nullable=False),
        sa.Column("paused_reason", sa.Text),
        sa.Column("paused_until", sa.Float),
        sa.PrimaryKeyConstraint("url", "number", name="pk_lanes"),
    )


def _create_files() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float),
        sa.Column("lines", sa.BigInteger),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("deleted_at", sa.Float),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
    )
    op.create_index("files_of_tenant", "files", ["tenant", "created_at", "id"])
    op.create_index(
        "files_expiring", "files", ["expires_at"], sqlite_where=sa.text("expires_at IS NOT NULL")
    )
    op.create_index(
        "files_deleted", "files", ["deleted_at"], sqlite_where=sa.text("deleted_at IS NOT NULL")
    )
