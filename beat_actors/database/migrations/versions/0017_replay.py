"""What stands in quarantine can be read anew, some of it at a time.

Revision ID: 0017
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    ALTER TABLE quarantine ADD COLUMN replay_at timestamptz, ADD COLUMN outcome text;
    CREATE INDEX quarantine_replay ON quarantine (replay_at) WHERE replay_at IS NOT NULL AND resolved_at IS NULL;
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE quarantine DROP COLUMN replay_at, DROP COLUMN outcome")
