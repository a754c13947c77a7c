"""Events that are written into the log afterwards, for one sink; levels of limits that were published.

Expands: the previous release knows neither column and reads all places.

Revision ID: 0061
"""

from alembic import op

revision = "0061"
down_revision = "0060"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- `backfill`: the event was published before, and is read by the replay that it was written for alone. `since`: of such a replay, when its
    -- first event happened.
    ALTER TABLE event_log ADD COLUMN backfill boolean NOT NULL DEFAULT false;
    ALTER TABLE event_replay ADD COLUMN backfill boolean NOT NULL DEFAULT false, ADD COLUMN since timestamptz;

    -- The highest share of a limit on on-demand requests that was published, in percent, in the window that ends at `until`; NULL: it slides.
    CREATE TABLE limit_level (
        name    text PRIMARY KEY,
        percent integer NOT NULL,
        until   timestamptz,
        at      timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    """)


def downgrade() -> None:
    op.execute("""
    DROP TABLE limit_level;
    ALTER TABLE event_replay DROP COLUMN since, DROP COLUMN backfill;
    ALTER TABLE event_log DROP COLUMN backfill;
    """)
