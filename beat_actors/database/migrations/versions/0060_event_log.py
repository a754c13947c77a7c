"""One log of events with one order, in the place of `outbox_event` and `change_log`.

Expands. Events that older processes write to those two tables are copied into `event` by triggers, which a later migration drops with the tables.
Copied now: events that webhooks have not been sent, and the changes of the last hour.

Revision ID: 0060
"""

from alembic import op

revision = "0060"
down_revision = "0059"
branch_labels = None
depends_on = None

PARTITIONED = """
CREATE OR REPLACE FUNCTION beat_partitioned() RETURNS SETOF text LANGUAGE sql STABLE AS
$$ SELECT unnest(ARRAY[{}]) $$;
"""
LOGS = "'raw_payload', 'trace_log', 'profile_log', 'post_log', 'broker_decision', 'change_log', 'archived_payload'"
HOT = "WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0)"

OF_OUTBOX = (
    """SELECT event_id, type, subject, NULL::integer, data->>'account_id', ''::text, data, occurred_at FROM {}"""
)
OF_CHANGES = """SELECT md5('changes ' || id)::uuid, 'beat.data.changed', 'scrape_request/' || request_id, NULL::integer, account_id, owner,
    jsonb_build_object('platform', platform, 'kind', kind, 'request_id', request_id, 'account_id', nullif(account_id, ''),
                       'keys', to_jsonb(keys)), at FROM {}"""
INTO = "INSERT INTO event (event_id, type, subject, version, account_id, owner, data, at)"


def upgrade() -> None:
    op.execute(f"""
    CREATE SEQUENCE event_id;
    -- A transaction has its number before its first id, which is what the sequencer's floor goes by (`events/log.sql`).
    CREATE FUNCTION beat_event_id() RETURNS bigint LANGUAGE sql VOLATILE AS
    $$ SELECT CASE WHEN pg_current_xact_id() IS NOT NULL THEN nextval('public.event_id') END $$;

    -- An event is written in the transaction of what it says, and its id is drawn under the lock of its subject. `event_id`: what consumers
    -- know it by. `version`: of the subject, where it counts its events. `owner`: empty where everybody who may see the account's data may see it.
    CREATE TABLE event (
        at         timestamptz NOT NULL DEFAULT clock_timestamp(),
        id         bigint NOT NULL DEFAULT beat_event_id(),
        event_id   uuid NOT NULL,
        type       text NOT NULL,
        subject    text NOT NULL,
        version    integer,
        account_id text,
        owner      text NOT NULL DEFAULT '',
        data       jsonb NOT NULL,
        PRIMARY KEY (id, at)
    ) PARTITION BY RANGE (at);
    CREATE TABLE event_default PARTITION OF event DEFAULT;

    -- Events that have no place in the log yet.
    CREATE TABLE event_pending (
        id         bigint PRIMARY KEY,
        at         timestamptz NOT NULL,
        account_id text,
        changes    boolean NOT NULL
    ) {HOT};
    CREATE FUNCTION beat_event_pends() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.event_pending (id, at, account_id, changes) SELECT id, at, account_id, type = 'beat.data.changed' FROM written;
        RETURN NULL;
    END $$;
    CREATE TRIGGER event_pends AFTER INSERT ON event REFERENCING NEW TABLE AS written
        FOR EACH STATEMENT EXECUTE FUNCTION beat_event_pends();

    -- The order of events. `seq` has no gaps. `changes`: it is a change of data.
    CREATE TABLE event_log (
        seq        bigint PRIMARY KEY,
        id         bigint NOT NULL,
        at         timestamptz NOT NULL,
        account_id text,
        changes    boolean NOT NULL
    ) WITH (autovacuum_vacuum_insert_scale_factor = 0.2);
    CREATE INDEX event_log_changes ON event_log (seq) WHERE changes;
    CREATE INDEX event_log_changes_of ON event_log (account_id, seq) WHERE changes;

    -- One row. `seq`: the last place given, in `minute`. No event with an id up to `floor` will ever be pending. `mark`: the next floor; the transaction
    -- `marked_in` read it; it holds once all transactions before `mark_until` have ended.
    CREATE TABLE event_sequence (
        only_one   boolean PRIMARY KEY DEFAULT true CHECK (only_one),
        seq        bigint NOT NULL DEFAULT 0,
        minute     timestamptz NOT NULL DEFAULT to_timestamp(0),
        floor      bigint NOT NULL DEFAULT 0,
        mark       bigint,
        marked_in  xid8,
        mark_until xid8
    ) {HOT};
    INSERT INTO event_sequence DEFAULT VALUES;

    -- The first place that was given in a minute, of those in which one was.
    CREATE TABLE event_minute (minute timestamptz PRIMARY KEY, seq bigint NOT NULL);
    -- The changes that are copied below are those of the last hour, so a time within it is behind the beginning of the log.
    INSERT INTO event_minute VALUES (date_trunc('minute', clock_timestamp()) - interval '110 minutes', 1);

    -- Places that events are published to. All up to `seq` was sent, parked or not wanted; `stored`: the last that was sent; `at`: when the event at `seq` happened. A relay holds the
    -- lease and writes with its fence. `trouble`: why it does not take events, `reason` in a sentence, `since` when; NULL: it takes them.
    CREATE TABLE event_sink (
        name        text PRIMARY KEY,
        scheme      text NOT NULL,
        seq         bigint NOT NULL,
        stored      bigint NOT NULL DEFAULT 0,
        at          timestamptz NOT NULL DEFAULT clock_timestamp(),
        fence       bigint NOT NULL DEFAULT 0,
        holder      text,
        lease_until timestamptz,
        trouble     text,
        reason      text,
        since       timestamptz,
        sent        bigint NOT NULL DEFAULT 0,
        returned    bigint NOT NULL DEFAULT 0,
        nacked      bigint NOT NULL DEFAULT 0,
        parked      bigint NOT NULL DEFAULT 0,
        wanted      jsonb NOT NULL DEFAULT '{{}}',
        created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
    ) {HOT};

    -- Events that a sink did not take while it took others. `next_at`: when it is tried again; NULL: an operator decides, or it waits for an
    -- earlier event of its subject (`behind`).
    CREATE TABLE event_parked (
        sink       text NOT NULL,
        seq        bigint NOT NULL,
        id         bigint NOT NULL,
        at         timestamptz NOT NULL,
        subject    text NOT NULL,
        trouble    text NOT NULL,
        reason     text NOT NULL,
        tries      integer NOT NULL DEFAULT 0,
        behind     boolean NOT NULL DEFAULT false,
        parked_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
        next_at    timestamptz,
        PRIMARY KEY (sink, seq)
    ) WITH (fillfactor = 80);
    CREATE INDEX event_parked_subject ON event_parked (sink, subject, seq);
    CREATE INDEX event_parked_due ON event_parked (sink, next_at) WHERE next_at IS NOT NULL;

    -- Events that are sent to a sink once more. `position`: the last that was sent.
    CREATE TABLE event_replay (
        id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        sink       text NOT NULL,
        from_seq   bigint NOT NULL,
        to_seq     bigint NOT NULL,
        types      text[] NOT NULL,
        subject    text,
        rate       integer NOT NULL,
        position   bigint NOT NULL,
        sent       bigint NOT NULL DEFAULT 0,
        reason     text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        ended_at   timestamptz,
        error      text
    );
    CREATE INDEX event_replay_open ON event_replay (sink, id) WHERE ended_at IS NULL;

    ALTER TABLE scrape_request_log ADD COLUMN event_version integer NOT NULL DEFAULT 0;
    ALTER TABLE webhook_position ADD COLUMN seq bigint NOT NULL DEFAULT 0;

    {PARTITIONED.format(LOGS + ", 'event'")}
    SELECT beat_make_partitions(3);

    CREATE FUNCTION beat_copy_outbox() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        {INTO} {OF_OUTBOX.format("written")};
        RETURN NULL;
    END $$;
    CREATE TRIGGER outbox_event_copied AFTER INSERT ON outbox_event REFERENCING NEW TABLE AS written
        FOR EACH STATEMENT EXECUTE FUNCTION beat_copy_outbox();
    CREATE FUNCTION beat_copy_changes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        {INTO} {OF_CHANGES.format("written")};
        RETURN NULL;
    END $$;
    CREATE TRIGGER change_log_copied AFTER INSERT ON change_log REFERENCING NEW TABLE AS written
        FOR EACH STATEMENT EXECUTE FUNCTION beat_copy_changes();

    {INTO} {OF_OUTBOX.format("outbox_event")} o WHERE (xid, id) > (SELECT xid, id FROM webhook_position) ORDER BY o.xid, o.id;
    {INTO} {OF_CHANGES.format("change_log")} c WHERE at > clock_timestamp() - interval '1 hour' ORDER BY c.xid, c.id;
    """)  # noqa: S608 - names of tables


def downgrade() -> None:
    op.execute(f"""
    DROP TRIGGER change_log_copied ON change_log;
    DROP TRIGGER outbox_event_copied ON outbox_event;
    DROP FUNCTION beat_copy_outbox(), beat_copy_changes();
    {PARTITIONED.format(LOGS)}
    ALTER TABLE webhook_position DROP COLUMN seq;
    ALTER TABLE scrape_request_log DROP COLUMN event_version;
    DROP TABLE event_replay, event_parked, event_sink, event_minute, event_sequence, event_log, event_pending, event;
    DROP FUNCTION beat_event_pends(), beat_event_id();
    DROP SEQUENCE event_id;
    """)
