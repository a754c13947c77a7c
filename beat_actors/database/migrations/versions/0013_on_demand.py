"""Which requests were taken from the limits of on-demand requests, so that what Redis counted can be counted again.

Revision ID: 0013
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    ALTER TABLE scrape_request_log ADD COLUMN on_demand boolean NOT NULL DEFAULT false;
    CREATE INDEX scrape_request_log_on_demand ON scrape_request_log (platform, created_at) WHERE on_demand;
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE scrape_request_log DROP COLUMN on_demand")
