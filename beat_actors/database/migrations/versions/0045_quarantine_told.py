"""Tell of what is in quarantine by an index, whatever stands there.

The index is built concurrently, so that it holds up no writer.

Revision ID: 0045
"""

from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # It waits for transactions that run, and nobody waits for it.
        op.execute("SET lock_timeout = 0")
        # What a build that was interrupted left behind is not valid.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS quarantine_told")
        op.execute("""
        CREATE INDEX CONCURRENTLY quarantine_told
        ON quarantine (kind, coalesce(platform, '-'), coalesce(source, '-'), coalesce(operation, '-'), at) WHERE resolved_at IS NULL
        """)
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    op.execute("DROP INDEX IF EXISTS quarantine_told")
