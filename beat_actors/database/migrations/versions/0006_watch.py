"""What the scheduler watches: the leader's fence, when each sweep last ran, and what alerts are about.

Revision ID: 0006
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    ALTER TABLE alert ADD COLUMN source text, ADD COLUMN silenced boolean NOT NULL DEFAULT false;

    -- One row a sweep, written by the leader each second at most: when it last ended well, and what it last died of.
    CREATE TABLE sweep (
        name     text PRIMARY KEY,
        every    double precision NOT NULL,
        deadline double precision NOT NULL,
        ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        ms       double precision,
        error    text
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 500);

    -- Stable, so that a statement asks once and not for each row. Without an epoch nobody is excluded: that is for people and tests.
    CREATE FUNCTION beat_leads(term bigint) RETURNS boolean LANGUAGE sql STABLE AS
    $$ SELECT term IS NULL OR EXISTS (SELECT FROM leader WHERE name = 'scheduler' AND epoch = term) $$;

    ALTER TABLE scrape_fetch ADD COLUMN claimed_at timestamptz;
    """)


def downgrade() -> None:
    op.execute("""
    ALTER TABLE scrape_fetch DROP COLUMN claimed_at;
    DROP FUNCTION beat_leads;
    DROP TABLE sweep;
    ALTER TABLE alert DROP COLUMN source, DROP COLUMN silenced;
    """)
