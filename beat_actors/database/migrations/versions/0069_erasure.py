"""Erasure of a person's data: its jobs, and tombstones that keep what was erased from coming back.

Only added. Older processes write what a tombstone would keep out, and older processes accept requests for it; the last round of a job finds that.

Revision ID: 0069
"""

from alembic import op

revision = "0069"
down_revision = "0066"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- One row: the secret that identifiers of erased persons are hashed with. Random, made here, and never changed.
    CREATE TABLE tombstone_key (
        only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
        key      bytea NOT NULL CHECK (length(key) = 32)
    );
    INSERT INTO tombstone_key (key) SELECT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));

    -- An identifier of an erased person, as `beat_subject` hashes it.
    CREATE TABLE tombstone (
        subject    bytea PRIMARY KEY,
        erasure_id bigint NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    -- The table is new, and nobody writes it yet.
    -- squawk-ignore require-concurrent-index-creation
    CREATE INDEX tombstone_of_erasure ON tombstone (erasure_id);

    -- `subject`: as `beat_subject` hashes the id or name that was given. `identifiers`, `reason` of a job that runs name the person; at its end the first is
    -- emptied. `settled`: transactions with smaller numbers may have begun before the tombstones were there. `position`: how far the job is.
    CREATE TABLE erasure (
        id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        platform    text NOT NULL,
        kind        text NOT NULL,
        subject     bytea NOT NULL,
        dry_run     boolean NOT NULL,
        actor       text NOT NULL,
        reason      text NOT NULL,
        created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
        settled     xid8,
        identifiers jsonb,
        position    jsonb NOT NULL,
        counts      jsonb NOT NULL DEFAULT '{}',
        waits_for   text,
        ended_at    timestamptz,
        lifted_at   timestamptz
    );
    -- squawk-ignore require-concurrent-index-creation
    CREATE INDEX erasure_open ON erasure (id) WHERE ended_at IS NULL;

    -- Keys of things of the person whom a running job erases, such as posts.
    CREATE TABLE erasure_thing (
        erasure_id bigint NOT NULL,
        key        text NOT NULL,
        PRIMARY KEY (erasure_id, key)
    );

    -- Case and a leading @ make no difference in names.
    CREATE FUNCTION beat_subject(secret bytea, platform text, kind text, value text) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT sha256(secret || convert_to(platform || chr(31) || kind || chr(31)
            || CASE kind WHEN 'name' THEN lower(ltrim(value, '@')) ELSE value END, 'UTF8'))
    $$;

    -- Processes may add to `audit_log` and change nothing of it. This is the one exception: while an erasure runs, its identifiers are replaced.
    CREATE FUNCTION beat_erase_from_audit(erasure bigint, entries bigint[]) RETURNS integer LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DECLARE
        changed integer := 0;
        touched integer;
        pattern text;
    BEGIN
        FOR pattern IN
            SELECT regexp_replace(i.value, '([][(){}.*+?^$|\\\\-])', '\\\\\\1', 'g') FROM erasure e,
                jsonb_array_elements_text(e.identifiers->'ids' || (e.identifiers->'names')) AS i(value)
            WHERE e.id = beat_erase_from_audit.erasure AND e.ended_at IS NULL AND NOT e.dry_run AND length(i.value) >= 3 AND i.value !~ '["\\\\]'
            ORDER BY length(i.value) DESC
        LOOP
            UPDATE audit_log SET target = regexp_replace(target, '(^|[^A-Za-z0-9_])' || pattern || '(?![A-Za-z0-9_])', '\\1[erased]', 'gi'),
                detail = regexp_replace(detail::text, '(^|[^A-Za-z0-9_])' || pattern || '(?![A-Za-z0-9_])', '\\1[erased]', 'gi')::jsonb
            WHERE id = ANY (entries) AND concat_ws(' ', target, detail::text) ~* ('(^|[^A-Za-z0-9_])' || pattern || '(?![A-Za-z0-9_])');
            GET DIAGNOSTICS touched = ROW_COUNT;
            changed := changed + touched;
        END LOOP;
        RETURN changed;
    END $$;
    """)


def downgrade() -> None:
    op.execute("""
    DROP FUNCTION beat_erase_from_audit;
    DROP FUNCTION beat_subject;
    DROP TABLE erasure_thing, erasure, tombstone, tombstone_key;
    """)
