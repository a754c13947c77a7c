"""Find what a turn looks at by indexes: a platform's lanes of one class from any id on, the breakers of an owner, and those that are open.

The indexes are built concurrently, so that they hold up no writer.

Revision ID: 0050
"""

from alembic import op

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None

INDEXES = {
    "lane_class": "lane (platform, priority, id)",
    "owner_breaker_owner": "owner_breaker (platform, owner)",
    "owner_breaker_open": "owner_breaker (platform, source, operation, kind) WHERE open_until IS NOT NULL",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # It waits for transactions that run, and nobody waits for it.
        op.execute("SET lock_timeout = 0")
        for name, of in INDEXES.items():
            # What a build that was interrupted left behind is not valid.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {of}")
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    op.execute(f"DROP INDEX IF EXISTS {', '.join(INDEXES)}")
