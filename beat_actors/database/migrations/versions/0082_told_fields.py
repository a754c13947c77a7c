"""What is known of each field of an entity: its value, that it is empty or hidden, or nothing; and which parser of which software told it.

Only added. What older processes write says nothing of it: their rows keep what newer processes wrote last, and their log rows have no null for an
empty field.

Revision ID: 0082
"""

from alembic import op

revision = "0082"
down_revision = "0081"
branch_labels = None
depends_on = None

# The tables that hold a platform's entities, whichever platforms there are: current state has no fetch_id, the logs have.
ENTITIES = """
SELECT c.table_name FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
WHERE table_schema = current_schema() AND t.table_type = 'BASE TABLE' AND c.column_name IN ('observed_at', 'parser_version', 'fetch_id', 'changed_at')
GROUP BY 1 HAVING array_agg(c.column_name::text ORDER BY c.column_name::text) = ARRAY['changed_at', 'observed_at', 'parser_version'] ORDER BY 1
"""


def upgrade() -> None:
    op.execute("""
    -- A parser as it is in a version of Beat. Rows are never changed nor deleted; there are as many for each version as there are operations of sources.
    CREATE TABLE IF NOT EXISTS parser_build (
        id             integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        software       text NOT NULL,
        platform       text NOT NULL,
        source         text NOT NULL,
        operation      text NOT NULL,
        parser_version integer NOT NULL,
        first_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
        UNIQUE (software, platform, source, operation, parser_version)
    )
    """)
    # A table at a time, so that no writer waits for more than one; what was done before it was interrupted is done.
    with op.get_context().autocommit_block():
        op.execute(f"""
        DO $$ DECLARE entity text; BEGIN
            FOR entity IN {ENTITIES} LOOP
                -- `observed_fetch`, `build_id`: the fetch and the parser of the last observation; NULL: written by an older version. `empty`: the fields
                -- that are known to have no value; `hidden`: those of them that are counts which their owner hides. `older`: the fields that the last
                -- observation did not tell, each with where it came from: at, source, request, fetch, parser, build.
                EXECUTE format('ALTER TABLE %I ADD COLUMN IF NOT EXISTS observed_fetch bigint, ADD COLUMN IF NOT EXISTS build_id integer,
                    ADD COLUMN IF NOT EXISTS empty text[], ADD COLUMN IF NOT EXISTS hidden text[], ADD COLUMN IF NOT EXISTS older jsonb', entity);
                COMMIT;
            END LOOP;
        END $$;
        """)
        for log in ("profile_log", "post_log"):
            # A field of `metrics` or `dimensions` that is null is empty, one that is not there was not told.
            op.execute(
                f"ALTER TABLE {log} ADD COLUMN IF NOT EXISTS build_id integer, ADD COLUMN IF NOT EXISTS hidden text[]"
            )


def downgrade() -> None:
    op.execute(f"""
    ALTER TABLE profile_log DROP COLUMN build_id, DROP COLUMN hidden;
    ALTER TABLE post_log DROP COLUMN build_id, DROP COLUMN hidden;
    DO $$ DECLARE entity text; BEGIN
        FOR entity IN {ENTITIES} LOOP
            EXECUTE format('ALTER TABLE %I DROP COLUMN observed_fetch, DROP COLUMN build_id, DROP COLUMN empty, DROP COLUMN hidden, DROP COLUMN older', entity);
        END LOOP;
    END $$;
    DROP TABLE parser_build;
    """)
