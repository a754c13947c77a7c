"""Count the calls that sources refuse for a reason that no rule of theirs knows.

One row for each source and operation, however many calls and reasons there are.

Revision ID: 0040
"""

from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    CREATE TABLE refusal (
        platform  text NOT NULL,
        source    text NOT NULL,
        operation text NOT NULL,
        since     timestamptz NOT NULL,
        at        timestamptz NOT NULL,
        calls     integer NOT NULL,
        code      text NOT NULL,
        PRIMARY KEY (platform, source, operation)
    )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE refusal")
