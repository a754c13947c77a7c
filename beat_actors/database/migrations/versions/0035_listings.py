"""What is remembered of a listing from page to page."""

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE scrape_fetch ADD COLUMN listing jsonb")


def downgrade() -> None:
    op.execute("ALTER TABLE scrape_fetch DROP COLUMN listing")
