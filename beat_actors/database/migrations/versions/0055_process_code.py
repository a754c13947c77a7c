"""A process's row says which code it runs: its version, the newest revision of the schema that it knows, and its platforms.

Only added. Older processes write none of it.

Revision ID: 0055
"""

from alembic import op

revision = "0055"
down_revision = "0054"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE process ADD COLUMN version text, ADD COLUMN revision text, ADD COLUMN platforms text[]")


def downgrade() -> None:
    op.execute("ALTER TABLE process DROP COLUMN version, DROP COLUMN revision, DROP COLUMN platforms")
