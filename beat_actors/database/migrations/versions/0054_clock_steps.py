"""A process's row has the steps forth of the database's clock that the process has found, for processes that start after them.

Only added. Older processes write none.

Revision ID: 0054
"""

from alembic import op

revision = "0054"
down_revision = "0053"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE process ADD COLUMN clock_steps jsonb NOT NULL DEFAULT '[]'")


def downgrade() -> None:
    op.execute("ALTER TABLE process DROP COLUMN clock_steps")
