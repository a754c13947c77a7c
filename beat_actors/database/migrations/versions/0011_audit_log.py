"""What operators changed, who it was, and when.

Revision ID: 0011
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    CREATE TABLE audit_log (
        id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at     timestamptz NOT NULL DEFAULT clock_timestamp(),
        actor  text NOT NULL,
        action text NOT NULL,
        target text NOT NULL,
        detail jsonb NOT NULL
    );
    CREATE INDEX audit_log_target ON audit_log (target, id);
    """)


def downgrade() -> None:
    op.execute("""
    DROP TABLE audit_log;
    """)
