"""Count the open requests of one tenant.

Built concurrently, so that it holds up no writer. Code of the release before works with the new index as well.

Revision ID: 0039
"""

from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # It waits for transactions that run, and nobody waits for it.
        op.execute("SET lock_timeout = 0")
        # What a build that was interrupted left behind is not valid.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS scrape_request_log_open")
        op.execute("""
        CREATE INDEX CONCURRENTLY scrape_request_log_open ON scrape_request_log (beat_tenant(account_id, api_key_id))
        WHERE status IN ('PENDING', 'PROCESSING')
        """)
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    op.execute("DROP INDEX IF EXISTS scrape_request_log_open")
