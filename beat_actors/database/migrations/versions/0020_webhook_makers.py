"""Which key made a webhook: one of no account is shown and changes its own.

Revision ID: 0020
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE webhook_endpoint ADD COLUMN api_key_id bigint")


def downgrade() -> None:
    op.execute("ALTER TABLE webhook_endpoint DROP COLUMN api_key_id")
