"""Uploads in parts; and files whose rows outlive their bytes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("files", sa.Column("purged_at", sa.Float))
    op.add_column("files", sa.Column("confirmed_at", sa.Float))
    op.create_index(
        "files_present",
        "files",
        ["tenant", "sha256"],
        sqlite_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "uploads",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("file_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("parts_max", sa.Integer),
        sa.Column("checksum", sa.Text),
        sa.Column("lifetime_seconds", sa.Integer),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("joined", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("part_ids", sa.Text),
        sa.Column("sha256", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_uploads"),
    )
    op.create_index("uploads_expiring", "uploads", ["expires_at"])
    op.create_table(
        "upload_parts",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("upload_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_upload_parts"),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.id"], name="fk_upload_parts_upload_id"),
    )
    op.create_index("parts_of_upload", "upload_parts", ["upload_id", "number"], unique=True)
