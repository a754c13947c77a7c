"""The gate before the upsert: what it remembers of each entity, the records that it holds, and what it has counted of each source.

Only added. Older processes write none of it: an entity that they write keeps the memory that it had, and their observations are not judged.

Revision ID: 0066
"""

from alembic import op

revision = "0066"
down_revision = "0065"
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
    CREATE TABLE IF NOT EXISTS held_record (
        id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        platform text NOT NULL,
        kind text NOT NULL,
        key text NOT NULL,
        account_id text NOT NULL DEFAULT '',
        owner text NOT NULL DEFAULT '',
        fetch_id bigint NOT NULL,
        request_id bigint NOT NULL,
        source text NOT NULL,
        operation text NOT NULL,
        parser_version integer NOT NULL DEFAULT 0,
        rules_version integer NOT NULL,
        priority smallint NOT NULL,
        observed_at timestamptz NOT NULL,
        -- The record as it was read, whole.
        record jsonb NOT NULL,
        -- The fields that are held; empty: the whole record.
        fields text[] NOT NULL,
        reasons jsonb NOT NULL,
        score smallint NOT NULL,
        -- What the source said of the held fields, what was known of them, and what other sources said since.
        said jsonb NOT NULL,
        good jsonb NOT NULL,
        witnesses jsonb NOT NULL DEFAULT '[]',
        -- How the witness is asked about it; NULL: no operation asks about one such thing.
        question jsonb,
        state text NOT NULL CHECK (state IN ('asking', 'waiting', 'person', 'accepted', 'rejected')),
        asks text NOT NULL DEFAULT '',
        asked text[] NOT NULL DEFAULT '{}',
        rounds smallint NOT NULL DEFAULT 0,
        held_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        next_at timestamptz,
        why text NOT NULL DEFAULT '',
        decided_at timestamptz,
        decided_by text
    )
    """)
    op.execute("""
    CREATE UNIQUE INDEX IF NOT EXISTS held_record_open ON held_record (platform, kind, key, account_id, owner) WHERE decided_at IS NULL
    """)
    op.execute(
        "CREATE INDEX IF NOT EXISTS held_record_due ON held_record (next_at) WHERE decided_at IS NULL AND next_at IS NOT NULL"
    )
    op.execute("""
    CREATE INDEX IF NOT EXISTS held_record_cohort ON held_record (platform, source, operation, parser_version, id) WHERE decided_at IS NULL
    """)
    op.execute(
        "CREATE INDEX IF NOT EXISTS held_record_decided ON held_record (decided_at) WHERE decided_at IS NOT NULL"
    )
    op.execute("""
    CREATE TABLE IF NOT EXISTS trust_cohort (
        platform text NOT NULL,
        source text NOT NULL,
        operation text NOT NULL,
        parser_version integer NOT NULL,
        -- Packed, as `beat_actors/trust` makes them.
        cohort bytea NOT NULL,
        breaker bytea NOT NULL,
        -- Since when the breaker is open, and why; `by_hand`: an operator opened it.
        open_since timestamptz,
        why text NOT NULL DEFAULT '',
        by_hand boolean NOT NULL DEFAULT false,
        -- What the sample said of all that is held of the cohort: world_moved, source_broke or unclear.
        cause text,
        updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (platform, source, operation, parser_version)
    )
    """)
    # A table at a time, so that no writer waits for more than one; what was done before it was interrupted is done.
    with op.get_context().autocommit_block():
        op.execute(f"""
        DO $$ DECLARE entity text; BEGIN
            FOR entity IN {ENTITIES} LOOP
                -- What the gate remembers (packed), how it judged the last observation, and since when a record is held.
                EXECUTE format('ALTER TABLE %I ADD COLUMN IF NOT EXISTS trust bytea, ADD COLUMN IF NOT EXISTS trust_score smallint,
                    ADD COLUMN IF NOT EXISTS trust_reasons jsonb, ADD COLUMN IF NOT EXISTS held_since timestamptz', entity);
                COMMIT;
            END LOOP;
        END $$;
        """)
        for log in ("profile_log", "post_log"):
            op.execute(f"ALTER TABLE {log} ADD COLUMN IF NOT EXISTS trust_score smallint")
        # The held record that this fetch asks another source about.
        op.execute("ALTER TABLE scrape_fetch ADD COLUMN IF NOT EXISTS witness_of bigint")
        op.execute("SET lock_timeout = 0")
        # What a build that was interrupted left behind is not valid.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS scrape_fetch_witness")
        op.execute(
            "CREATE INDEX CONCURRENTLY scrape_fetch_witness ON scrape_fetch (witness_of) WHERE witness_of IS NOT NULL"
        )
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    op.execute(f"""
    DROP TABLE trust_cohort, held_record;
    ALTER TABLE scrape_fetch DROP COLUMN witness_of;
    ALTER TABLE profile_log DROP COLUMN trust_score;
    ALTER TABLE post_log DROP COLUMN trust_score;
    DO $$ DECLARE entity text; BEGIN
        FOR entity IN {ENTITIES} LOOP
            EXECUTE format('ALTER TABLE %I DROP COLUMN trust, DROP COLUMN trust_score, DROP COLUMN trust_reasons, DROP COLUMN held_since', entity);
        END LOOP;
    END $$;
    """)
