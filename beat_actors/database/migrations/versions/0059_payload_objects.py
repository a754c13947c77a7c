"""Raw payloads may lie in objects of a bucket: the objects, the index of what lies in them, and what was brought back to be read again.

Only added. Older processes bring nothing back: they ask the provider again for a payload that PostgreSQL keeps no more.

Revision ID: 0059
"""

from alembic import op

revision = "0059"
down_revision = "0058"
branch_labels = None
depends_on = None

PARTITIONED = """
CREATE OR REPLACE FUNCTION beat_partitioned() RETURNS SETOF text LANGUAGE sql STABLE AS
$$ SELECT unnest(ARRAY[{}]) $$;
"""
LOGS = "'raw_payload', 'trace_log', 'profile_log', 'post_log', 'broker_decision', 'change_log'"


def upgrade() -> None:
    op.execute(f"""
    -- A row is there before its object and goes after it, so what has no row is nothing that anybody needs. `stored_at`: when its payloads
    -- were written into the index; NULL: not yet, or never. `gone_at`: since when the object is to be deleted.
    CREATE TABLE payload_object (
        id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        key       text NOT NULL,
        day       date NOT NULL,
        begun_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
        stored_at timestamptz,
        gone_at   timestamptz,
        payloads  integer NOT NULL DEFAULT 0,
        bytes     bigint NOT NULL DEFAULT 0,
        sha256    bytea
    );
    CREATE INDEX payload_object_day ON payload_object (day);
    CREATE INDEX payload_object_open ON payload_object (begun_at) WHERE stored_at IS NULL OR gone_at IS NOT NULL;

    -- Where in an object a payload lies. `sum`: the CRC-32 of these bytes.
    CREATE TABLE archived_payload (
        fetch_id    bigint NOT NULL,
        created_at  timestamptz NOT NULL,
        object_id   bigint NOT NULL,
        sum         bigint NOT NULL,
        position    integer NOT NULL,
        length      integer NOT NULL,
        next_cursor text,
        PRIMARY KEY (fetch_id, created_at)
    ) PARTITION BY RANGE (created_at);
    CREATE TABLE archived_payload_default PARTITION OF archived_payload DEFAULT;

    CREATE TABLE restored_payload (
        fetch_id    bigint NOT NULL,
        created_at  timestamptz NOT NULL,
        restored_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        body        bytea NOT NULL,
        next_cursor text,
        PRIMARY KEY (fetch_id, created_at)
    );
    ALTER TABLE restored_payload ALTER body SET STORAGE EXTERNAL;

    {PARTITIONED.format(LOGS + ", 'archived_payload'")}

    -- Drops a past day of raw_payload all of which is archived, and says what it found: `dropped`; `needed`: one of them is still to be read;
    -- `unarchived`: one is not archived; `none`: there is no such day.
    CREATE FUNCTION beat_drop_archived_payloads(past date) RETURNS text LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DECLARE
        child text := 'raw_payload' || to_char(past, '_YYYYMMDD');
        since timestamptz := past::timestamp AT TIME ZONE 'UTC';
        until timestamptz := (past + 1)::timestamp AT TIME ZONE 'UTC';
        left_over boolean;
    BEGIN
        IF until > clock_timestamp() THEN RAISE EXCEPTION '% is not past', past; END IF;
        PERFORM pg_advisory_xact_lock(hashtext('beat.payloads.drop'));
        IF to_regclass(format('%I', child)) IS NULL THEN RETURN 'none'; END IF;
        IF EXISTS (SELECT FROM scrape_fetch WHERE stage = 'RETRIEVED' AND payload_at >= since AND payload_at < until) THEN
            RETURN 'needed';
        END IF;
        -- Readers go on. Nobody adds to this day from here on.
        EXECUTE format('LOCK TABLE ONLY %I IN SHARE MODE', child);
        EXECUTE format('SELECT EXISTS (SELECT FROM %I p WHERE NOT EXISTS (SELECT FROM archived_payload a WHERE a.fetch_id = p.fetch_id'
            ' AND a.created_at = p.created_at AND a.created_at >= %L AND a.created_at < %L))', child, since, until) INTO left_over;
        IF left_over THEN RETURN 'unarchived'; END IF;
        -- Who has a payload read again has seen that it is here, and holds a lock on this day until that is committed.
        EXECUTE format('LOCK TABLE ONLY raw_payload, ONLY %I IN ACCESS EXCLUSIVE MODE', child);
        IF EXISTS (SELECT FROM scrape_fetch WHERE stage = 'RETRIEVED' AND payload_at >= since AND payload_at < until) THEN
            RETURN 'needed';
        END IF;
        EXECUTE format('DROP TABLE %I', child);
        RETURN 'dropped';
    END $$;
    REVOKE ALL ON FUNCTION beat_drop_archived_payloads(date) FROM PUBLIC;
    """)  # noqa: S608 - names of tables


def downgrade() -> None:
    op.execute(f"""
    DROP FUNCTION beat_drop_archived_payloads(date);
    {PARTITIONED.format(LOGS)}
    DROP TABLE restored_payload, archived_payload, payload_object;
    """)
