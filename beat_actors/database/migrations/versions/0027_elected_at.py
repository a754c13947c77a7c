"""When the leader was elected: a sweep is late only once it had time to run under it.

Revision ID: 0027
"""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE leader ADD COLUMN elected_at timestamptz")


def downgrade() -> None:
    op.execute("ALTER TABLE leader DROP COLUMN elected_at")
