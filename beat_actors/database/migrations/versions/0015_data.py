"""Reading what is known: since when it is so, a log of what changed, and which request observes a thing anew.

Revision ID: 0015
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# The tables that hold a platform's entities, whichever platforms there are: current state has no fetch_id, the logs have.
ENTITIES = """
SELECT c.table_name FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
WHERE table_schema = current_schema() AND t.table_type = 'BASE TABLE' AND c.column_name IN ('observed_at', 'parser_version', 'fetch_id')
GROUP BY 1 HAVING array_agg(c.column_name::text ORDER BY c.column_name::text) = ARRAY['observed_at', 'parser_version']
"""
PARTITIONED = """
CREATE OR REPLACE FUNCTION beat_partitioned() RETURNS SETOF text LANGUAGE sql STABLE AS
$$ SELECT unnest(ARRAY[{}]) $$;
"""
LOGS = "'raw_payload', 'trace_log', 'profile_log', 'post_log', 'broker_decision'"


def upgrade() -> None:
    op.execute(f"""
    DO $$ DECLARE entity text; BEGIN
        FOR entity IN {ENTITIES} LOOP
            -- NULL: not changed since this column is there.
            EXECUTE format('ALTER TABLE %I ADD COLUMN changed_at timestamptz', entity);
        END LOOP;
    END $$;

    CREATE SEQUENCE change_log_id;
    -- A row is what one request's fetches changed of one kind. Numbers are drawn before they are committed, so a reader goes by the
    -- transaction, and no further than to the oldest one that still runs.
    CREATE TABLE change_log (
        at         timestamptz NOT NULL,
        xid        xid8 NOT NULL DEFAULT pg_current_xact_id(),
        id         bigint NOT NULL DEFAULT nextval('change_log_id'),
        platform   text NOT NULL,
        kind       text NOT NULL,
        request_id bigint NOT NULL,
        keys       text[] NOT NULL
    ) PARTITION BY RANGE (at);
    CREATE INDEX change_log_position ON change_log (xid, id);
    CREATE INDEX change_log_at ON change_log USING brin (at);
    CREATE TABLE change_log_default PARTITION OF change_log DEFAULT;
    {PARTITIONED.format(LOGS + ", 'change_log'")}
    SELECT beat_make_partitions(3);

    -- By what is asked for: the request that observes it anew, or was the last to.
    CREATE TABLE data_refresh (
        work       bytea PRIMARY KEY,
        request_id bigint NOT NULL
    ) WITH (fillfactor = 80);
    """)


def downgrade() -> None:
    op.execute(f"""
    DROP TABLE data_refresh, change_log;
    DROP SEQUENCE change_log_id;
    {PARTITIONED.format(LOGS)}
    DO $$ DECLARE entity text; BEGIN
        FOR entity IN {ENTITIES} LOOP
            EXECUTE format('ALTER TABLE %I DROP COLUMN changed_at', entity);
        END LOOP;
    END $$;
    """)
