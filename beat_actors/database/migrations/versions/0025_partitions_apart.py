"""Each partition is made and dropped by itself, and what came into a default partition is moved to where it belongs.

Revision ID: 0025
"""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    CREATE FUNCTION beat_partition_key(parent text) RETURNS text LANGUAGE sql STABLE AS $$
        SELECT a.attname::text FROM pg_partitioned_table p JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
        WHERE p.partrelid = to_regclass(parent)
    $$;

    -- What lies in default partitions, by the day that it is of.
    CREATE FUNCTION beat_in_default() RETURNS TABLE (parent text, day date, held bigint) LANGUAGE plpgsql STABLE AS $$
    BEGIN
        FOR parent IN SELECT beat_partitioned() LOOP
            RETURN QUERY EXECUTE format('SELECT %L::text, (%I AT TIME ZONE ''UTC'')::date, count(*) FROM %I GROUP BY 2',
                parent, beat_partition_key(parent), parent || '_default');
        END LOOP;
    END $$;

    -- Whether it was made now. Rows of its day that lie in the default partition are moved; meanwhile nobody writes to the table.
    CREATE FUNCTION beat_make_partition(parent text, day date) RETURNS boolean LANGUAGE plpgsql AS $$
    DECLARE
        child text := parent || to_char(day, '_YYYYMMDD');
        key text := beat_partition_key(parent);
        since timestamptz := day::timestamp AT TIME ZONE 'UTC';
        until timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
        held boolean;
    BEGIN
        IF parent NOT IN (SELECT beat_partitioned()) THEN RAISE EXCEPTION '% is not partitioned by day', parent; END IF;
        PERFORM pg_advisory_xact_lock(hashtext('beat.partitions'));
        IF to_regclass(format('%I', child)) IS NOT NULL THEN RETURN false; END IF;
        EXECUTE format('LOCK TABLE ONLY %I, ONLY %I IN ACCESS EXCLUSIVE MODE', parent, parent || '_default');
        EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE %I >= %L AND %I < %L)', parent || '_default', key, since, key, until) INTO held;
        -- Rows of a few kB stay whole: compressing each would cost more than the room that it saves.
        IF NOT held THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L) WITH (toast_tuple_target = 8160)',
                child, parent, since, until);
            RETURN true;
        END IF;
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMPRESSION)'
            ' WITH (toast_tuple_target = 8160)', child, parent);
        EXECUTE format('WITH moved AS (DELETE FROM %I WHERE %I >= %L AND %I < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
            parent || '_default', key, since, key, until, child);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, child, since, until);
        RETURN true;
    END $$;

    -- A day that cannot be made keeps no other from it.
    CREATE OR REPLACE FUNCTION beat_make_partitions(days integer) RETURNS integer LANGUAGE plpgsql AS $$
    DECLARE parent text; day date; made integer := 0;
    BEGIN
        FOR parent IN SELECT beat_partitioned() LOOP
            FOR day IN SELECT generate_series(current_date, current_date + days, interval '1 day')::date LOOP
                BEGIN
                    made := made + beat_make_partition(parent, day)::integer;
                EXCEPTION WHEN OTHERS THEN
                    RAISE WARNING 'no partition of % for %: %', parent, day, SQLERRM;
                END;
            END LOOP;
        END LOOP;
        RETURN made;
    END $$;

    CREATE OR REPLACE FUNCTION beat_drop_partitions(parent text, keep_days integer) RETURNS integer LANGUAGE plpgsql AS $$
    DECLARE child text; dropped integer := 0;
    BEGIN
        IF parent NOT IN (SELECT beat_partitioned()) THEN RAISE EXCEPTION '% is not partitioned by day', parent; END IF;
        FOR child IN
            SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = to_regclass(parent) AND c.relname ~ ('^' || parent || '_[0-9]{8}$')
              AND to_date(right(c.relname, 8), 'YYYYMMDD') < current_date - keep_days
        LOOP
            EXECUTE format('DROP TABLE %I', child);
            dropped := dropped + 1;
        END LOOP;
        EXECUTE format('DELETE FROM %I WHERE %I < %L', parent || '_default', beat_partition_key(parent),
            (current_date - keep_days)::timestamp AT TIME ZONE 'UTC');
        RETURN dropped;
    END $$;
    """)


def downgrade() -> None:
    op.execute("""
    CREATE OR REPLACE FUNCTION beat_make_partitions(days integer) RETURNS integer LANGUAGE plpgsql AS $$
    DECLARE parent text; day date; made integer := 0;
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('beat.partitions'));
        FOR parent IN SELECT beat_partitioned() LOOP
            FOR day IN SELECT generate_series(current_date, current_date + days, interval '1 day')::date LOOP
                IF to_regclass(format('%I', parent || to_char(day, '_YYYYMMDD'))) IS NULL THEN
                    -- Rows of a few kB stay whole: compressing each would cost more than the room that it saves.
                    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L) WITH (toast_tuple_target = 8160)',
                        parent || to_char(day, '_YYYYMMDD'), parent,
                        day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
                    made := made + 1;
                END IF;
            END LOOP;
        END LOOP;
        RETURN made;
    END $$;

    CREATE OR REPLACE FUNCTION beat_drop_partitions(parent text, keep_days integer) RETURNS integer LANGUAGE plpgsql AS $$
    DECLARE child text; dropped integer := 0;
    BEGIN
        IF parent NOT IN (SELECT beat_partitioned()) THEN RAISE EXCEPTION '% is not partitioned by day', parent; END IF;
        FOR child IN
            SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = to_regclass(parent) AND c.relname ~ ('^' || parent || '_[0-9]{8}$')
              AND to_date(right(c.relname, 8), 'YYYYMMDD') < current_date - keep_days
        LOOP
            EXECUTE format('DROP TABLE %I', child);
            dropped := dropped + 1;
        END LOOP;
        RETURN dropped;
    END $$;

    DROP FUNCTION beat_make_partition, beat_in_default, beat_partition_key;
    """)
