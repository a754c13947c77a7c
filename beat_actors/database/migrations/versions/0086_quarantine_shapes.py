"""The structure of a payload that could not be read: entries of the quarantine that fail alike and are built differently are told apart.

Expands. Older processes write no shape; such entries are grouped as before, and their groups keep their names.

Revision ID: 0086
"""

from alembic import op

revision = "0086"
down_revision = "0085"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- `shape`: a name of the structure, without values; NULL where it is not known.
    ALTER TABLE quarantine ADD COLUMN shape text;
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE quarantine DROP COLUMN shape")
