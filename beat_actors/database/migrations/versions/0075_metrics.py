"""Metrics: the sums that processes report, those that are kept of ended ones, and exact counts of calls; the scope `metrics`.

Expands. Older processes write none of it.

Revision ID: 0075
"""

from alembic import op

revision = "0075"
down_revision = "0074"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- `metrics`: the sums of the process since it began, or since others took them over, which `folds` counts. `loop_lag`: the longest delay of its
    -- event loop since its last report, in seconds.
    ALTER TABLE process
        ADD COLUMN metrics jsonb,
        ADD COLUMN folds integer NOT NULL DEFAULT 0,
        ADD COLUMN loop_lag double precision;

    -- The sums of a process whose row is gone, until they are added to `metric_sum`.
    CREATE TABLE process_left (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, metrics jsonb NOT NULL);

    -- Sums that are kept: of ended processes, of the log of events up to the place `position`, and the gauges of the leading scheduler.
    CREATE TABLE metric_sum (
        name     text PRIMARY KEY,
        position bigint,
        sums     jsonb NOT NULL,
        at       timestamptz NOT NULL
    ) WITH (fillfactor = 50);

    -- How many calls of an operation of a source had which outcome. Dispatch cycles count them, under the platform's lock.
    CREATE TABLE call_total (
        platform  text NOT NULL,
        source    text NOT NULL,
        operation text NOT NULL,
        outcome   text NOT NULL,
        calls     bigint NOT NULL,
        PRIMARY KEY (platform, source, operation, outcome)
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

    -- It comes back at once, and the table holds few rows.
    -- squawk-ignore ban-drop-constraint
    ALTER TABLE api_key DROP CONSTRAINT api_key_scopes;
    ALTER TABLE api_key
        -- squawk-ignore constraint-missing-not-valid
        ADD CONSTRAINT api_key_scopes CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['submit', 'urgent', 'read', 'metrics', 'operate', 'admin']);
    """)


def downgrade() -> None:
    op.execute("""
    DROP TABLE call_total, metric_sum, process_left;
    ALTER TABLE process DROP COLUMN metrics, DROP COLUMN folds, DROP COLUMN loop_lag;
    ALTER TABLE api_key DROP CONSTRAINT api_key_scopes;
    -- A key with this scope alone opens nothing; a key holds one scope at least, so it is revoked.
    UPDATE api_key SET scopes = '{read}', revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE scopes = '{metrics}';
    UPDATE api_key SET scopes = array_remove(scopes, 'metrics') WHERE 'metrics' = ANY(scopes);
    ALTER TABLE api_key
        ADD CONSTRAINT api_key_scopes CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['submit', 'urgent', 'read', 'operate', 'admin']);
    """)
