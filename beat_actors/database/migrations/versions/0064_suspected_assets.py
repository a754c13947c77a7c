"""Assets: what is known of uploads whose process ended, and an index of URLs by the end that they say.

Expands. Older processes write none of it. The indexes are built concurrently and hold up no writer.

Revision ID: 0064
"""

from alembic import op

revision = "0064"
down_revision = "0063"
branch_labels = None
depends_on = None

INDEXES = {
    "asset_log_over": "asset_log (expires_at) WHERE status = 'PENDING' AND class IS NOT NULL AND wanted_at IS NULL AND expires_at IS NOT NULL",
    "asset_log_suspected": "asset_log (status, class) WHERE rescues >= 3",
}


def upgrade() -> None:
    # `rescues`: how often in a row the process that uploaded the asset ended before the upload did.
    op.execute("ALTER TABLE asset_log ADD COLUMN rescues smallint NOT NULL DEFAULT 0")
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        for name, of in INDEXES.items():
            # What a build that was interrupted left behind is not valid.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {of}")
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    for name in INDEXES:
        op.execute(f"DROP INDEX IF EXISTS {name}")
    op.execute("ALTER TABLE asset_log DROP COLUMN rescues")
