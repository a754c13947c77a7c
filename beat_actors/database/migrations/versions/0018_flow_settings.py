"""Waiting work is kept apart by its flow, and operators say how much of a flow is done at once.

Revision ID: 0018
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# As in 0014, with or without the flow among what makes a lane.
URGE = """
CREATE OR REPLACE FUNCTION beat_urge(of_request bigint, urgency smallint, deadline timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO lane (platform, operation, priority, sources, owner{column})
    SELECT DISTINCT l.platform, l.operation, urgency, l.sources, l.owner{value}
    FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id
    WHERE f.request_id = of_request AND f.stage = 'WAITING' AND f.priority > urgency
    ON CONFLICT DO NOTHING;
    UPDATE scrape_fetch f SET priority = least(f.priority, urgency), expires_at = CASE
            WHEN f.expires_at IS NULL OR deadline IS NULL THEN NULL ELSE greatest(f.expires_at, deadline) END,
        lane_id = CASE WHEN f.stage = 'WAITING' THEN coalesce(o.id, f.lane_id) ELSE f.lane_id END
    FROM scrape_fetch mine JOIN lane l ON l.id = mine.lane_id
    LEFT JOIN lane o ON o.platform = l.platform AND o.operation = l.operation AND o.priority = least(l.priority, urgency)
        AND o.sources = l.sources AND o.owner = l.owner{condition}
    WHERE f.id = mine.id AND mine.id IN (
        SELECT id FROM scrape_fetch WHERE request_id = of_request AND stage NOT IN ('DONE', 'FAILED', 'CANCELLED')
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED);
    RETURN FOUND;
END $$
"""
# What is on its way goes into a lane of its flow (or back into the one of all flows).
MOVE = """
WITH open AS (
    SELECT f.id, f.lane_id, {flow} AS flow FROM scrape_fetch f JOIN scrape_request_log r ON r.id = f.request_id
    WHERE f.stage NOT IN ('DONE', 'FAILED', 'CANCELLED')
), made AS (
    INSERT INTO lane (platform, operation, priority, sources, owner, flow)
    SELECT DISTINCT l.platform, l.operation, l.priority, l.sources, l.owner, open.flow FROM open JOIN lane l ON l.id = open.lane_id
    ON CONFLICT DO NOTHING RETURNING *
), every AS (
    SELECT * FROM lane UNION ALL SELECT * FROM made
)
UPDATE scrape_fetch f SET lane_id = e.id FROM open JOIN lane l ON l.id = open.lane_id
JOIN every e ON (e.platform, e.operation, e.priority, e.sources, e.owner, e.flow)
              = (l.platform, l.operation, l.priority, l.sources, l.owner, open.flow)
WHERE f.id = open.id AND f.lane_id <> e.id
"""


def upgrade() -> None:
    op.execute("""
    ALTER TABLE lane ADD COLUMN flow text NOT NULL DEFAULT '';
    ALTER TABLE lane DROP CONSTRAINT lane_platform_operation_priority_sources_owner_key;
    ALTER TABLE lane ADD CONSTRAINT lane_key UNIQUE (platform, operation, priority, sources, owner, flow);

    -- What operators changed of what flows declare; NULL is as declared.
    CREATE TABLE flow_setting (
        platform    text NOT NULL,
        flow        text NOT NULL,
        workers     integer CHECK (workers BETWEEN 1 AND 1000),
        concurrency integer CHECK (concurrency BETWEEN 1 AND 1000),
        paused      boolean NOT NULL DEFAULT false,
        changed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (platform, flow)
    );
    """)
    op.execute(MOVE.format(flow="r.flow"))
    op.execute(URGE.format(column=", flow", value=", l.flow", condition=" AND o.flow = l.flow"))


def downgrade() -> None:
    op.execute(MOVE.format(flow="''"))
    op.execute(URGE.format(column="", value="", condition=""))
    # Fetches that have ended still name a lane, and none may be there twice.
    op.execute("""
    DROP TABLE flow_setting;
    INSERT INTO lane (platform, operation, priority, sources, owner) SELECT DISTINCT platform, operation, priority, sources, owner FROM lane
        WHERE flow <> '' ON CONFLICT DO NOTHING;
    UPDATE scrape_fetch f SET lane_id = o.id FROM lane l JOIN lane o ON (o.platform, o.operation, o.priority, o.sources, o.owner)
        = (l.platform, l.operation, l.priority, l.sources, l.owner) AND o.flow = '' WHERE f.lane_id = l.id AND l.flow <> '';
    DELETE FROM lane WHERE flow <> '';
    ALTER TABLE lane DROP CONSTRAINT lane_key, DROP COLUMN flow;
    ALTER TABLE lane ADD UNIQUE (platform, operation, priority, sources, owner);
    """)
