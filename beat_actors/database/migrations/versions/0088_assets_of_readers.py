"""Find the assets that readers wait for by an index of those alone, also while the statistics of the table are old.

A claim looks for them first. Just after many assets have come, PostgreSQL still takes those that wait for few, and read all of them for each claim
rather than the index `asset_log_wanted`, which does not say that they wait. Built concurrently, so that it holds up no writer.

Revision ID: 0088
"""

from alembic import op

revision = "0088"
down_revision = "0087"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # It waits for transactions that run, and nobody waits for it.
        op.execute("SET lock_timeout = 0")
        # What a build that was interrupted left behind is not valid.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS asset_log_readers")
        op.execute(
            "CREATE INDEX CONCURRENTLY asset_log_readers ON asset_log (wanted_at) "
            "WHERE wanted_at IS NOT NULL AND status = 'PENDING' AND class IS NOT NULL"
        )
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    op.execute("DROP INDEX IF EXISTS asset_log_readers")
