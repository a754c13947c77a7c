"""What is kept of a message that could not be used.

Revision ID: 0010
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    ALTER TABLE quarantine ADD COLUMN detail jsonb;
    -- How many stand is counted before each that is set aside.
    CREATE INDEX quarantine_messages ON quarantine (id) WHERE kind = 'message' AND resolved_at IS NULL;
    """)


def downgrade() -> None:
    op.execute("DROP INDEX quarantine_messages; ALTER TABLE quarantine DROP COLUMN detail")
