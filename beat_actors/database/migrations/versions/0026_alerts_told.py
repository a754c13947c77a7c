"""What was told of an alert, apart from what keeps it from being told: a person, or another alert that explains it.

Revision ID: 0026
"""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- told: the gravest severity that anybody was told of. explained: a source's own alert stands that says it already.
    ALTER TABLE alert ADD COLUMN told text, ADD COLUMN explained boolean NOT NULL DEFAULT false;
    UPDATE alert SET told = severity;
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE alert DROP COLUMN told, DROP COLUMN explained")
