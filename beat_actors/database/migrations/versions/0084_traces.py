"""The trace context that the caller of a request sent.

Only added. Older processes leave the column empty: their requests have traces of their own.

Revision ID: 0084
"""

from alembic import op

revision = "0084"
down_revision = "0083"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- trace: the ids of the caller's trace (16 bytes) and span (8 bytes), and the flags of its `traceparent`; NULL: it sent none.
    ALTER TABLE scrape_request_log ADD COLUMN trace bytea;
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE scrape_request_log DROP COLUMN trace")
