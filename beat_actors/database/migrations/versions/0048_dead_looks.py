"""How often a dead credential was looked at again.

Revision ID: 0048
"""

from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE credential ADD COLUMN dead_looks smallint NOT NULL DEFAULT 0")


def downgrade() -> None:
    op.execute("ALTER TABLE credential DROP COLUMN dead_looks")
