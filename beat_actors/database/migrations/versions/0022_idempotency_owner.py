"""Whose an idempotency key is: the account's that called, or of no account the API key's own.

Revision ID: 0022
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Rows from before, and what the version before this still writes while it is replaced, have no owner and their own index.
    op.execute("""
    ALTER TABLE scrape_request_log ADD COLUMN idempotency_owner text;
    ALTER INDEX scrape_request_log_idempotency RENAME TO scrape_request_log_idempotency_old;
    CREATE UNIQUE INDEX scrape_request_log_idempotency_unowned ON scrape_request_log (coalesce(account_id, ''), idempotency_key)
        WHERE idempotency_key IS NOT NULL AND idempotency_owner IS NULL;
    CREATE UNIQUE INDEX scrape_request_log_idempotency ON scrape_request_log (idempotency_owner, idempotency_key)
        WHERE idempotency_key IS NOT NULL AND idempotency_owner IS NOT NULL;
    DROP INDEX scrape_request_log_idempotency_old;
    """)


def downgrade() -> None:
    op.execute("""
    DROP INDEX scrape_request_log_idempotency, scrape_request_log_idempotency_unowned;
    CREATE UNIQUE INDEX scrape_request_log_idempotency ON scrape_request_log (coalesce(account_id, ''), idempotency_key)
        WHERE idempotency_key IS NOT NULL;
    ALTER TABLE scrape_request_log DROP COLUMN idempotency_owner;
    """)
