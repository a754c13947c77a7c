"""Partitions are made and dropped with the owner's rights, so that processes need no right to create tables.

Revision ID: 0030
"""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

OWNED = ("beat_make_partition(text, date)", "beat_drop_partitions(text, integer)")


def upgrade() -> None:
    op.execute("""
    -- Whether it was made now. Rows of its day that lie in the default partition are moved; meanwhile nobody writes to the table.
    CREATE OR REPLACE FUNCTION beat_make_partition(parent text, day date) RETURNS boolean LANGUAGE plpgsql AS $$
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
        IF NOT held THEN
            IF day < current_date - 1 OR day > current_date + 366 THEN
                RAISE EXCEPTION 'no partition of % for %: it is a day of the past that has no rows, or more than a year ahead', parent, day;
            END IF;
            -- Rows of a few kB stay whole: compressing each would cost more than the room that it saves.
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

    CREATE OR REPLACE FUNCTION beat_drop_partitions(parent text, keep_days integer) RETURNS integer LANGUAGE plpgsql AS $$
    DECLARE child text; dropped integer := 0;
    BEGIN
        IF parent NOT IN (SELECT beat_partitioned()) THEN RAISE EXCEPTION '% is not partitioned by day', parent; END IF;
        IF keep_days IS NULL OR keep_days < 1 THEN RAISE EXCEPTION 'at least the last day is kept, not %', keep_days; END IF;
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
    for function in OWNED:
        # Temporary tables come last, or a caller's own would stand before ours.
        op.execute(f"ALTER FUNCTION {function} SECURITY DEFINER SET search_path = public, pg_temp")
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")


def downgrade() -> None:
    for function in OWNED:
        op.execute(f"ALTER FUNCTION {function} SECURITY INVOKER RESET search_path")
        op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO PUBLIC")
