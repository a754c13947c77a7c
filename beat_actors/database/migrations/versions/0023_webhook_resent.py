"""From which attempt on a delivery's delays count: a resend begins anew, and its fence goes on.

Revision ID: 0023
"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE webhook_delivery ADD COLUMN resent_after integer NOT NULL DEFAULT 0")


def downgrade() -> None:
    op.execute("ALTER TABLE webhook_delivery DROP COLUMN resent_after")
