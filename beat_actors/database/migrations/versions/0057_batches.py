"""Batches: many requests under one id, with an event once all of them have ended.

Only added; code of the release before leaves `batch_id` empty. The indexes are built concurrently and hold up no writer.

Revision ID: 0057
"""

from alembic import op

revision = "0057"
down_revision = "0056"
branch_labels = None
depends_on = None

INDEXES = {
    "scrape_request_log_batch": "scrape_request_log (batch_id, id) INCLUDE (status) WHERE batch_id IS NOT NULL",
    "scrape_request_log_batch_unfinished": "scrape_request_log (batch_id, id) "
    "WHERE batch_id IS NOT NULL AND status IN ('PENDING', 'PROCESSING')",
}


def upgrade() -> None:
    op.execute("""
    CREATE TABLE request_batch (
        id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        account_id    text,
        api_key_id    bigint,
        total         integer NOT NULL,
        created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
        added_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
        closed_at     timestamptz,
        cancelled_at  timestamptz,
        cancel_reason text,
        ended_at      timestamptz,
        counts        jsonb
    ) WITH (fillfactor = 70);
    CREATE INDEX request_batch_unfinished ON request_batch (id) WHERE ended_at IS NULL;
    CREATE INDEX request_batch_account ON request_batch (account_id, id);
    CREATE INDEX request_batch_key ON request_batch (api_key_id, id);
    ALTER TABLE scrape_request_log ADD COLUMN batch_id bigint;
    """)
    with op.get_context().autocommit_block():
        # It waits for transactions that run, and nobody waits for it.
        op.execute("SET lock_timeout = 0")
        for name, of in INDEXES.items():
            # What a build that was interrupted left behind is not valid.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {of}")
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    for name in INDEXES:
        op.execute(f"DROP INDEX IF EXISTS {name}")
    op.execute("ALTER TABLE scrape_request_log DROP COLUMN batch_id")
    op.execute("DROP TABLE request_batch")
