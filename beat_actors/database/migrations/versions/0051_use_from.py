"""A lease may be given for a call that is to be made a moment later.

Revision ID: 0051
"""

from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE scrape_fetch ADD COLUMN use_from timestamptz")


def downgrade() -> None:
    op.execute("ALTER TABLE scrape_fetch DROP COLUMN use_from")
