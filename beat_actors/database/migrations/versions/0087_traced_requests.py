"""Find the requests whose callers sent a trace by an index of those alone.

Each event that is published is looked up in it. Most requests have no such trace, so most look-ups end in a small index. Built concurrently, so that it
holds up no writer.

Revision ID: 0087
"""

from alembic import op

revision = "0087"
down_revision = "0086"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # It waits for transactions that run, and nobody waits for it.
        op.execute("SET lock_timeout = 0")
        # What a build that was interrupted left behind is not valid.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS scrape_request_traced")
        op.execute("CREATE INDEX CONCURRENTLY scrape_request_traced ON scrape_request_log (id) WHERE trace IS NOT NULL")
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    op.execute("DROP INDEX IF EXISTS scrape_request_traced")
