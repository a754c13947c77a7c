"""Find the fetches of one platform whose wait has ended, whatever waits on the others.

Built concurrently, so that it holds up no writer. Code of the release before works with the new index as well.

Revision ID: 0034
"""

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # It waits for transactions that run, and nobody waits for it.
        op.execute("SET lock_timeout = 0")
        # What a build that was interrupted left behind is not valid.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS scrape_fetch_wakes")
        op.execute("""
        CREATE INDEX CONCURRENTLY scrape_fetch_wakes ON scrape_fetch (platform, not_before)
        WHERE stage = 'WAITING' AND not_before IS NOT NULL
        """)
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS scrape_fetch_delayed")
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    op.execute("""
    DROP INDEX IF EXISTS scrape_fetch_wakes;
    CREATE INDEX scrape_fetch_delayed ON scrape_fetch (not_before) WHERE stage = 'WAITING' AND not_before IS NOT NULL;
    """)
