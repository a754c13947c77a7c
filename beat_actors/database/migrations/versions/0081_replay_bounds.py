"""A replay of the quarantine stops by itself where too many payloads still cannot be read.

Only added. Older processes replay without a bound. The index is built concurrently and holds up no writer.

Revision ID: 0081
"""

from alembic import op

revision = "0081"
down_revision = "0080"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- `replay_id`: the replay that an entry belongs to. `replay_bound`: the share of payloads that may still be unreadable.
    ALTER TABLE quarantine ADD COLUMN replay_id bigint, ADD COLUMN replay_bound double precision;
    CREATE SEQUENCE quarantine_replay_id;
    """)
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        # What a build that was interrupted left behind is not valid.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS quarantine_of_replay")
        op.execute(
            "CREATE INDEX CONCURRENTLY quarantine_of_replay ON quarantine (replay_id, resolved_at) WHERE replay_id IS NOT NULL"
        )
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    op.execute("""
    DROP INDEX IF EXISTS quarantine_of_replay;
    DROP SEQUENCE quarantine_replay_id;
    ALTER TABLE quarantine DROP COLUMN replay_id, DROP COLUMN replay_bound;
    """)
