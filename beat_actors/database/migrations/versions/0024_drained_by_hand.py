"""Whether a breaker was opened by a person: then it is no outage that it tells of.

Revision ID: 0024
"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE breaker ADD COLUMN by_hand boolean NOT NULL DEFAULT false")


def downgrade() -> None:
    op.execute("ALTER TABLE breaker DROP COLUMN by_hand")
