"""Restores of entities from their logs: what was excluded, jobs with their items, the last good state of entities past the log, checks.

Expands. Older processes write log rows without `written_at` and know no exclusions. The index is BRIN, built concurrently, partition by
partition, and holds up no writer.

Revision ID: 0076
"""

from alembic import op
from sqlalchemy import text

revision = "0076"
down_revision = "0075"
branch_labels = None
depends_on = None

LOGS = ("profile_log", "post_log")
HOT = "WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0)"
PENDS = """
CREATE OR REPLACE FUNCTION beat_event_pends() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO public.event_pending (id, at, account_id, changes) SELECT id, at, account_id, {} FROM written;
    RETURN NULL;
END $$;
"""
WHEN = "USING brin (observed_at, fetch_id) WITH (pages_per_range = 32, autosummarize = on)"
PARTITIONS = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = CAST(:log AS regclass)
  AND NOT EXISTS (SELECT FROM pg_index x JOIN pg_inherits a ON a.inhrelid = x.indexrelid
                  WHERE x.indrelid = c.oid AND a.inhparent = to_regclass(:log || '_when')) ORDER BY 1
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for log in LOGS:
            # `written_at`: when the row was written; NULL: by a process of an earlier version. `excluded_by`: the restore that excluded it.
            op.execute(
                f"ALTER TABLE {log} ADD COLUMN IF NOT EXISTS written_at timestamptz, ADD COLUMN IF NOT EXISTS excluded_by bigint"
            )
            op.execute(f"ALTER TABLE {log} ALTER COLUMN written_at SET DEFAULT clock_timestamp()")
    op.execute(f"""
    -- A restore. `selection`: which observations are excluded. `state`: COLLECTING finds their entities, PLANNING compares each with its log,
    -- APPLYING writes. `position`: how far the walk over the log has got, `walk`: the place in the list of logs. `applies`: it goes on after PLANNED.
    -- `fixes`: its entities are those that differ from their log, and nothing is excluded. `token`: what undoes it. `summary`: what it changed, or would change.
    CREATE TABLE restore_job (
        id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        token      text NOT NULL,
        selection  jsonb NOT NULL,
        state      text NOT NULL DEFAULT 'COLLECTING'
                   CHECK (state IN ('COLLECTING', 'PLANNING', 'PLANNED', 'APPLYING', 'DONE', 'UNDOING', 'UNDONE', 'CANCELLED')),
        applies    boolean NOT NULL,
        rescrape   boolean NOT NULL,
        fixes      boolean NOT NULL DEFAULT false,
        actor      text NOT NULL,
        reason     text NOT NULL,
        since      timestamptz NOT NULL,
        until      timestamptz NOT NULL,
        walk       integer NOT NULL DEFAULT 0,
        position   timestamptz,
        passes     integer NOT NULL DEFAULT 0,
        summary    jsonb NOT NULL DEFAULT '{{}}',
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        ended_at   timestamptz
    ) {HOT};
    CREATE INDEX restore_job_open ON restore_job (id) WHERE state IN ('COLLECTING', 'PLANNING', 'APPLYING', 'UNDOING');

    -- An entity of a restore. `state`: NEW, PLANNED, DONE, UNDONE. `before`, `after`: its whole row, NULL where it had none or has none.
    -- `fields`: those that change. `kept`: those that an undo left, because they were observed again.
    CREATE TABLE restore_item (
        job_id     bigint NOT NULL REFERENCES restore_job ON DELETE CASCADE,
        entity     text NOT NULL,
        key        text NOT NULL,
        account_id text NOT NULL,
        owner      text NOT NULL,
        state      text NOT NULL DEFAULT 'NEW' CHECK (state IN ('NEW', 'PLANNED', 'DONE', 'UNDONE')),
        fields     text[],
        before     jsonb,
        after      jsonb,
        kept       text[],
        PRIMARY KEY (job_id, entity, key, account_id, owner)
    ) WITH (fillfactor = 50);
    -- A job looks for its next items behind those that it has done.
    CREATE INDEX restore_item_state ON restore_item (job_id, state, entity, key, account_id, owner);

    -- The last good state of an entity, of fields that no kept row of the log tells. `fields`: the value of each, with the time of its observation.
    CREATE TABLE entity_base (
        entity         text NOT NULL,
        key            text NOT NULL,
        account_id     text NOT NULL,
        owner          text NOT NULL,
        platform       text NOT NULL,
        fields         jsonb NOT NULL,
        known_at       timestamptz NOT NULL,
        source         text NOT NULL,
        parser_version integer NOT NULL,
        request_id     bigint NOT NULL,
        PRIMARY KEY (entity, key, account_id, owner)
    ) WITH (fillfactor = 80);

    -- How far the days of a log past their age have been read for `entity_base`. All days before `day` are done; in `day`, all entities up to
    -- (platform, key, account_id, owner).
    CREATE TABLE log_retention (
        log        text PRIMARY KEY,
        day        date NOT NULL,
        platform   text NOT NULL DEFAULT '',
        key        text NOT NULL DEFAULT '',
        account_id text NOT NULL DEFAULT '',
        owner      text NOT NULL DEFAULT ''
    ) {HOT};

    -- The comparison of entities with their logs: how far the round that goes on has got, and what the last whole one found.
    CREATE TABLE entity_check (
        entity     text PRIMARY KEY,
        key        text NOT NULL DEFAULT '',
        account_id text NOT NULL DEFAULT '',
        owner      text NOT NULL DEFAULT '',
        started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        ended_at   timestamptz,
        checked    bigint NOT NULL DEFAULT 0,
        drifted    bigint NOT NULL DEFAULT 0,
        examples   jsonb NOT NULL DEFAULT '[]',
        last       jsonb
    ) {HOT};
    """)
    # A restore changes data, so that readers of /v1/changes learn of it.
    op.execute(PENDS.format("type IN ('beat.data.changed', 'beat.data.restored')"))
    context = op.get_context()
    with context.autocommit_block():
        for log in LOGS:
            # Rows of a day lie in about the order of their times and fetches, so a summary of 32 pages finds a selection, and costs a write nothing.
            # No partition is locked: the index of the table is not valid until each of them has its own.
            op.execute(
                "-- squawk-ignore require-concurrent-index-creation\n"
                f"CREATE INDEX IF NOT EXISTS {log}_when ON ONLY {log} {WHEN}"
            )
        op.execute("SET lock_timeout = 0")
        for log in LOGS if not context.as_sql else ():
            for (child,) in op.get_bind().execute(text(PARTITIONS), {"log": log}).all():
                # What a build that was interrupted left behind is not valid.
                op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {child}_when")
                op.execute(f"CREATE INDEX CONCURRENTLY {child}_when ON {child} {WHEN}")
                op.execute(f"ALTER INDEX {log}_when ATTACH PARTITION {child}_when")
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    op.execute(PENDS.format("type = 'beat.data.changed'"))
    op.execute("DROP TABLE entity_check, log_retention, entity_base, restore_item, restore_job")
    for log in LOGS:
        op.execute(f"DROP INDEX IF EXISTS {log}_when")
        op.execute(f"ALTER TABLE {log} DROP COLUMN written_at, DROP COLUMN excluded_by")
