"""The schema. Times are unix seconds, ids are text, lists are JSON.

`worker` or `clerk` beside an `epoch` is a claim: the id of the worker incarnation that holds the
row, or null. The epoch is raised whenever a row changes hands, so a write that names both is
refused once they are stale, however late it comes.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
    literal_column,
    text,
)

from overnight.domain.job import TERMINAL

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

jobs: Final = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("input_file_id", Text, nullable=False),
    Column("input_bytes", BigInteger, nullable=False),
    Column("line_rules", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("deadline", Float, nullable=False),
    Column("completion_window", Text, nullable=False),
    Column("metadata", Text),
    Column("model", Text),
    Column("priority", Integer, nullable=False),
    Column("output_expires_after_seconds", BigInteger),
    # How it was asked for, to know the same request when it comes again: the id of the key that
    # sent it, a digest of what it said, and the name its sender gave it.
    Column("sender", Text),
    Column("request_digest", Text),
    Column("idempotency_key", Text),
    Column("total", BigInteger, nullable=False),
    # Of settled shards; once the job is published, of its result files.
    Column("succeeded", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("retries", BigInteger, nullable=False, server_default=text("0")),
    Column("output_file_id", Text),
    Column("error_file_id", Text),
    Column("faults", Text, nullable=False),
    Column("failure", Text),
    # Why a clerk that holds it does not go on; null when it does.
    Column("held_up_by", Text),
    Column("clerk", Text),
    Column("clerk_epoch", Integer, nullable=False),
    # 0 until a shard of the job is claimed, which puts a new job first in its turn.
    Column("last_served_at", Float, nullable=False),
)
Index("jobs_of_tenant", jobs.c.tenant, jobs.c.created_at, jobs.c.id)
Index(
    "jobs_by_turn",
    jobs.c.status,
    jobs.c.priority.desc(),
    jobs.c.last_served_at,
    jobs.c.created_at,
)
# Spelt out in the statement, for a partial index serves no query that has parameters instead.
is_live: Final = jobs.c.status.not_in(
    [literal_column(f"'{status.value}'") for status in sorted(TERMINAL)]
)
"""It has not ended, and so needs its input file."""

Index("jobs_live", jobs.c.tenant, jobs.c.status, sqlite_where=is_live)
has_idempotency_key: Final = jobs.c.idempotency_key.is_not(None)
Index(
    "jobs_by_idempotency_key",
    jobs.c.tenant,
    jobs.c.idempotency_key,
    unique=True,
    sqlite_where=has_idempotency_key,
)
Index("jobs_claimed", jobs.c.clerk, sqlite_where=jobs.c.clerk.is_not(None))

job_log: Final = Table(
    "job_log",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", Text, ForeignKey("jobs.id"), nullable=False),
    Column("event", Text, nullable=False),
    Column("from_status", Text),
    Column("to_status", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("why", Text, nullable=False),
)
Index("job_log_of_job", job_log.c.job_id)

shards: Final = Table(
    "shards",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.id"), primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("model", Text, nullable=False),
    Column("first_record", BigInteger, nullable=False),
    Column("requests", Integer, nullable=False),
    Column("body_bytes", BigInteger, nullable=False),
    Column("checksum", BigInteger, nullable=False),
    Column("worker", Text),
    Column("epoch", Integer, nullable=False),
    Column("fruitless_takeovers", Integer, nullable=False),
    Column("live_succeeded", Integer, nullable=False),
    Column("live_failed", Integer, nullable=False),
    Column("live_prompt_tokens", BigInteger, nullable=False),
    Column("live_completion_tokens", BigInteger, nullable=False),
    Column("live_retries", BigInteger, nullable=False, server_default=text("0")),
    # The epoch whose segment holds the shard's outcomes; null until the shard is settled.
    Column("segment_epoch", Integer),
    Column("segment_bytes", BigInteger),
    Column("segment_digest", BigInteger),
)

# A partial index serves only queries that repeat its condition, so each has a name.
is_unsettled: Final = shards.c.segment_epoch.is_(None)
is_free: Final = and_(is_unsettled, shards.c.worker.is_(None))
"""Nobody holds it and it is not done: it can be claimed."""
is_begun: Final = and_(is_unsettled, shards.c.epoch > 0)
"""Somebody has held it, so it may hold outcomes that the job's counters lack."""
is_claimed: Final = shards.c.worker.is_not(None)

Index("shards_free", shards.c.job_id, shards.c.ordinal, sqlite_where=is_free)
Index(
    "shards_free_of_model",
    shards.c.job_id,
    shards.c.model,
    shards.c.ordinal,
    sqlite_where=is_free,
)
Index("shards_begun", shards.c.job_id, sqlite_where=is_begun)
Index("shards_claimed", shards.c.worker, sqlite_where=is_claimed)

workers: Final = Table(
    "workers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("until", Float, nullable=False),
)

lanes: Final = Table(
    "lanes",
    metadata,
    Column("url", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("worker", Text),
    Column("epoch", Integer, nullable=False),
    # Its last holder died: what it had in flight may still be running upstream.
    Column("orphaned", Boolean, nullable=False),
    Column("models", Text),
    Column("answered", Boolean, nullable=False),
    Column("paused_reason", Text),
    Column("paused_until", Float),
)

files: Final = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Text),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("lines", BigInteger),
    Column("status", Text, nullable=False),
    # A deleted file's row outlives its bytes by far, so that paging can go on after it.
    Column("deleted_at", Float),
    Column("purged_at", Float),
    # From here on the link that its bytes came by opens nothing any more.
    Column("confirmed_at", Float),
)
Index("files_of_tenant", files.c.tenant, files.c.created_at, files.c.id)
Index("files_expiring", files.c.expires_at, sqlite_where=files.c.expires_at.is_not(None))
Index("files_deleted", files.c.deleted_at, sqlite_where=files.c.deleted_at.is_not(None))
is_present: Final = files.c.deleted_at.is_(None)
Index("files_present", files.c.tenant, files.c.sha256, sqlite_where=is_present)

# Not a column of files, for lists of those read whole rows. Of a file in parts it comes before the
# file's own row.
file_digests: Final = Table(
    "file_digests",
    metadata,
    Column("file_id", Text, primary_key=True),
    Column("blocks", LargeBinary, nullable=False),
)

uploads: Final = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("file_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("parts_max", Integer),
    Column("checksum", Text),
    Column("lifetime_seconds", Integer),
    Column("status", Text, nullable=False),
    # Numbered parts from the first on that are joined already, or are just being.
    Column("joined", Integer, nullable=False, server_default=text("0")),
    # Null until the order is settled.
    Column("part_ids", Text),
    Column("sha256", Text),
)
Index("uploads_expiring", uploads.c.expires_at)
is_ended_upload: Final = uploads.c.status.not_in(["pending", "joining"])

upload_parts: Final = Table(
    "upload_parts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("upload_id", Text, ForeignKey("uploads.id"), nullable=False),
    Column("number", Integer),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("created_at", Float, nullable=False),
)
Index("parts_of_upload", upload_parts.c.upload_id, upload_parts.c.number, unique=True)

api_keys: Final = Table(
    "api_keys",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("dialect", Text),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("last_used_at", Float),
    # A revoked key's row stays: a service that has had keys is never open again.
    Column("revoked_at", Float),
)
is_not_revoked: Final = api_keys.c.revoked_at.is_(None)
Index("api_keys_by_name", api_keys.c.name, unique=True, sqlite_where=is_not_revoked)

webhooks: Final = Table(
    "webhooks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("event_types", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("old_secrets", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    # A deleted webhook's row stays, so that paging can go on after it.
    Column("deleted_at", Float),
)
is_kept_webhook: Final = webhooks.c.deleted_at.is_(None)
Index("webhooks_of_tenant", webhooks.c.tenant, webhooks.c.created_at, webhooks.c.id)

webhook_deliveries: Final = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("webhook_id", Text, ForeignKey("webhooks.id"), nullable=False),
    Column("tenant", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    # Of the event.
    Column("created_at", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    # Null once it was acknowledged or given up.
    Column("next_at", Float),
    Column("last_at", Float),
    Column("last_status", Integer),
    Column("last_error", Text),
    Column("delivered_at", Float),
)
is_pending: Final = webhook_deliveries.c.next_at.is_not(None)
Index(
    "deliveries_pending",
    webhook_deliveries.c.webhook_id,
    webhook_deliveries.c.next_at,
    sqlite_where=is_pending,
)
Index(
    "deliveries_of_webhook",
    webhook_deliveries.c.webhook_id,
    webhook_deliveries.c.created_at,
    webhook_deliveries.c.id,
)
Index("deliveries_by_age", webhook_deliveries.c.created_at)
