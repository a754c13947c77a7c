"""Requests that ask for the same share one work: who waits for whose fetches, how old an answer is, whether it was collected.

Revision ID: 0014
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# Rows that a turn is moving at this moment are skipped: they are being leased, and whoever holds them waits for requests.
URGE = """
CREATE FUNCTION beat_urge(of_request bigint, urgency smallint, deadline timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO lane (platform, operation, priority, sources, owner)
    SELECT DISTINCT l.platform, l.operation, urgency, l.sources, l.owner
    FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id
    WHERE f.request_id = of_request AND f.stage = 'WAITING' AND f.priority > urgency
    ON CONFLICT DO NOTHING;
    UPDATE scrape_fetch f SET priority = least(f.priority, urgency), expires_at = CASE
            WHEN f.expires_at IS NULL OR deadline IS NULL THEN NULL ELSE greatest(f.expires_at, deadline) END,
        lane_id = CASE WHEN f.stage = 'WAITING' THEN coalesce(o.id, f.lane_id) ELSE f.lane_id END
    FROM scrape_fetch mine JOIN lane l ON l.id = mine.lane_id
    LEFT JOIN lane o ON o.platform = l.platform AND o.operation = l.operation AND o.priority = least(l.priority, urgency)
        AND o.sources = l.sources AND o.owner = l.owner
    WHERE f.id = mine.id AND mine.id IN (
        SELECT id FROM scrape_fetch WHERE request_id = of_request AND stage NOT IN ('DONE', 'FAILED', 'CANCELLED')
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED);
    RETURN FOUND;
END $$
"""


def upgrade() -> None:
    op.execute("""
    ALTER TABLE scrape_request_log
        ADD accepted_as text NOT NULL DEFAULT 'new' CHECK (accepted_as IN ('new', 'joined', 'stored')),
        ADD idempotency_digest bytea,
        ADD work bytea,
        -- It neither joins others nor is joined.
        ADD apart boolean NOT NULL DEFAULT false,
        -- Its own fetches are wanted: by itself, or by requests that joined it.
        ADD live boolean NOT NULL DEFAULT true,
        ADD joined_to bigint,
        ADD waiters integer NOT NULL DEFAULT 0,
        -- What its fetches have come to, where it has ended itself and others still wait for them.
        ADD work_data jsonb,
        ADD observed_at timestamptz,
        ADD collected_at timestamptz,
        ADD tags jsonb;
    UPDATE scrape_request_log SET live = false WHERE status NOT IN ('PENDING', 'PROCESSING');
    -- A request that is retried gets fetches anew; what is still on its way from an earlier run changes it no more.
    ALTER TABLE scrape_fetch ADD run integer NOT NULL DEFAULT 0;
    CREATE UNIQUE INDEX scrape_request_log_work ON scrape_request_log (work) WHERE live AND NOT apart AND work IS NOT NULL;
    CREATE INDEX scrape_request_log_stored ON scrape_request_log (work, observed_at) WHERE status = 'COMPLETE' AND work IS NOT NULL;
    CREATE INDEX scrape_request_log_waiters ON scrape_request_log (joined_to)
        WHERE joined_to IS NOT NULL AND status IN ('PENDING', 'PROCESSING');
    CREATE INDEX scrape_request_log_uncollected ON scrape_request_log (id) WHERE collected_at IS NULL AND scraped_at IS NOT NULL;
    """)
    op.execute(URGE)


def downgrade() -> None:
    op.execute("""
    DROP FUNCTION beat_urge;
    ALTER TABLE scrape_fetch DROP COLUMN run;
    ALTER TABLE scrape_request_log DROP COLUMN accepted_as, DROP COLUMN idempotency_digest, DROP COLUMN work, DROP COLUMN apart,
        DROP COLUMN live, DROP COLUMN joined_to, DROP COLUMN waiters, DROP COLUMN work_data, DROP COLUMN observed_at,
        DROP COLUMN collected_at, DROP COLUMN tags;
    """)
