"""What a credential may not do is asked again later: how often it was, when the next time is, and what the provider said.

Revision ID: 0052
"""

from alembic import op

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE credential ADD COLUMN denials jsonb NOT NULL DEFAULT '{}', ADD COLUMN denied_until timestamptz"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE credential DROP COLUMN denials, DROP COLUMN denied_until")
