"""Budgets: how many calls each source had when it was looked at last, and what room its limits have.

Expands. Older processes write none of it, and read none of it.

Revision ID: 0085
"""

from alembic import op

revision = "0085"
down_revision = "0084"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- One row for each limit of an hour or longer of each source, and one for what providers report. `slot`: ten minutes, numbered from 1970 on, in which
    -- it was looked at; `total`: the calls until then. `state`: the room that its credentials have together, and what becomes free when.
    CREATE TABLE budget (
        name    text PRIMARY KEY,
        source  text NOT NULL,
        slot    bigint NOT NULL,
        total   bigint NOT NULL,
        state   jsonb NOT NULL,
        made_at timestamptz NOT NULL DEFAULT clock_timestamp()
    ) WITH (fillfactor = 50);
    """)


def downgrade() -> None:
    op.execute("DROP TABLE budget")
