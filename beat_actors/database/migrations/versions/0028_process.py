"""How each process fares, told by itself: the rows that alerts on slow statements, full pools and slow claims look at.

Revision ID: 0028
"""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    CREATE TABLE process (
        id             text PRIMARY KEY,
        name           text NOT NULL,
        host           text NOT NULL,
        pid            integer NOT NULL,
        started_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
        seen_at        timestamptz NOT NULL,
        statements     integer NOT NULL,
        statement_p99  double precision NOT NULL,
        pool_used      integer NOT NULL,
        pool_most      integer NOT NULL,
        pool_exhausted integer NOT NULL,
        claims         integer NOT NULL,
        claim_p50      double precision NOT NULL,
        claim_p99      double precision NOT NULL
    ) WITH (fillfactor = 50)
    """)


def downgrade() -> None:
    op.execute("DROP TABLE process")
