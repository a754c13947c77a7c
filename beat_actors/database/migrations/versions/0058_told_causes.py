"""Breakers keep which calls opened them, alerts which sources they cover, and processes when the database did not answer them
and how many workers of their parent crashed.

Only added. Older processes write none of it: a breaker of theirs has no cause, and an alert of theirs covers its own source.

Revision ID: 0058
"""

from alembic import op

revision = "0058"
down_revision = "0057"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE breaker ADD COLUMN opened_by jsonb")
    op.execute("ALTER TABLE owner_breaker ADD COLUMN opened_by jsonb")
    op.execute("ALTER TABLE alert ADD COLUMN covers text[]")
    op.execute(
        "ALTER TABLE process ADD COLUMN outages jsonb NOT NULL DEFAULT '[]', ADD COLUMN restarts integer NOT NULL DEFAULT 0"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE process DROP COLUMN outages, DROP COLUMN restarts")
    op.execute("ALTER TABLE alert DROP COLUMN covers")
    op.execute("ALTER TABLE owner_breaker DROP COLUMN opened_by")
    op.execute("ALTER TABLE breaker DROP COLUMN opened_by")
