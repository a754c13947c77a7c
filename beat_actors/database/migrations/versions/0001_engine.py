"""The engine's own state: requests, fetches, lanes, credentials, logs.

Revision ID: 0001
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Rows of these tables are updated several times in a short life: room for HOT updates, and vacuum long before 20 % is dead.
BUSY = "WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1)"
# Small tables that every turn of the broker rewrites.
HOT = "WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0)"
# Append-only logs, partitioned by day.
LOG_INSERT = "autovacuum_vacuum_insert_scale_factor = 0.2"

REQUESTS = f"""
CREATE TABLE scrape_request_log (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    platform        text NOT NULL,
    flow            text NOT NULL,
    params          jsonb NOT NULL,
    status          text NOT NULL DEFAULT 'PENDING'
                    CHECK (status IN ('PENDING', 'PROCESSING', 'COMPLETE', 'FAILED', 'CANCELLED')),
    priority        smallint NOT NULL DEFAULT 2 CHECK (priority BETWEEN 1 AND 3),
    account_id      text,
    idempotency_key text,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    picked_at       timestamptz,
    scraped_at      timestamptz,
    expires_at      timestamptz,
    retry_count     integer NOT NULL DEFAULT 0,
    open_fetches    integer NOT NULL DEFAULT 1,
    items           integer NOT NULL DEFAULT 0,
    data            jsonb
) {BUSY};
CREATE INDEX scrape_request_log_pending ON scrape_request_log (flow, priority, id) WHERE status = 'PENDING';
CREATE INDEX scrape_request_log_failed ON scrape_request_log (id) WHERE status = 'FAILED';
CREATE INDEX scrape_request_log_account ON scrape_request_log (account_id, id) WHERE account_id IS NOT NULL;
CREATE INDEX scrape_request_log_expiring ON scrape_request_log (expires_at)
    WHERE status IN ('PENDING', 'PROCESSING') AND expires_at IS NOT NULL;
CREATE UNIQUE INDEX scrape_request_log_idempotency ON scrape_request_log (coalesce(account_id, ''), idempotency_key)
    WHERE idempotency_key IS NOT NULL;

CREATE TABLE lane (
    id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    platform      text NOT NULL,
    operation     text NOT NULL,
    priority      smallint NOT NULL,
    sources       text[] NOT NULL,
    blocked_until timestamptz,
    reasons       jsonb,
    checked_at    timestamptz,
    UNIQUE (platform, operation, priority, sources)
) {HOT};

CREATE TABLE scrape_fetch (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id     bigint NOT NULL REFERENCES scrape_request_log (id) ON DELETE CASCADE,
    lane_id        integer NOT NULL REFERENCES lane (id),
    platform       text NOT NULL,
    operation      text NOT NULL,
    params         jsonb NOT NULL,
    cursor         text,
    cursor_source  text,
    page           integer NOT NULL DEFAULT 1,
    is_first       boolean NOT NULL DEFAULT true,
    priority       smallint NOT NULL,
    stage          text NOT NULL DEFAULT 'WAITING'
                   CHECK (stage IN ('WAITING', 'LEASED', 'SETTLING', 'RETRIEVED', 'INGESTED', 'DONE', 'FAILED', 'CANCELLED')),
    source         text,
    credential_id  bigint,
    probe          boolean NOT NULL DEFAULT false,
    use_until      timestamptz,
    fence          integer NOT NULL DEFAULT 0,
    lease_until    timestamptz,
    attempt        integer NOT NULL DEFAULT 0,
    stage_attempts integer NOT NULL DEFAULT 0,
    rotations      integer NOT NULL DEFAULT 0,
    retries        integer NOT NULL DEFAULT 0,
    excluded       text[] NOT NULL DEFAULT '{{}}',
    unreadable     text[] NOT NULL DEFAULT '{{}}',
    not_before     timestamptz,
    waiting_for    text,
    payload_at     timestamptz,
    parser_version integer,
    records        bytea,
    error          jsonb,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at     timestamptz,
    sent_at        timestamptz
) {BUSY};
CREATE INDEX scrape_fetch_ready ON scrape_fetch (lane_id, id) WHERE stage = 'WAITING' AND not_before IS NULL;
CREATE INDEX scrape_fetch_delayed ON scrape_fetch (not_before) WHERE stage = 'WAITING' AND not_before IS NOT NULL;
CREATE INDEX scrape_fetch_expiring ON scrape_fetch (lane_id, expires_at) WHERE stage = 'WAITING' AND expires_at IS NOT NULL;
CREATE INDEX scrape_fetch_moving ON scrape_fetch (platform, stage) WHERE stage IN ('LEASED', 'SETTLING', 'RETRIEVED', 'INGESTED');
CREATE INDEX scrape_fetch_request ON scrape_fetch (request_id);
"""

CREDENTIALS = f"""
CREATE TABLE credential (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    platform           text NOT NULL,
    source             text NOT NULL,
    label              text NOT NULL,
    fingerprint        bytea NOT NULL,
    key_id             text NOT NULL,
    secret             bytea NOT NULL,
    weight             integer NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 10000),
    enabled            boolean NOT NULL DEFAULT true,
    disabled_till      timestamptz,
    disabled_reason    text,
    dead_at            timestamptz,
    dead_reason        text,
    denied             text[] NOT NULL DEFAULT '{{}}',
    ladder             smallint NOT NULL DEFAULT 0,
    ladder_at          timestamptz,
    probing            boolean NOT NULL DEFAULT false,
    reported_remaining integer,
    reported_reset_at  timestamptz,
    created_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (source, fingerprint)
) {HOT};
CREATE INDEX credential_platform ON credential (platform, source);

CREATE TABLE credential_usage (
    subject    text NOT NULL,
    limit_name text NOT NULL,
    head       bigint NOT NULL DEFAULT 0,
    counts     integer[] NOT NULL DEFAULT '{{}}',
    calls      bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (subject, limit_name)
) {HOT};

CREATE TABLE breaker (
    platform      text NOT NULL,
    source        text NOT NULL,
    operation     text NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('upstream', 'parser')),
    in_a_row      integer NOT NULL DEFAULT 0,
    window_start  timestamptz,
    calls         integer NOT NULL DEFAULT 0,
    failures      integer NOT NULL DEFAULT 0,
    trips         integer NOT NULL DEFAULT 0,
    open_until    timestamptz,
    probing       boolean NOT NULL DEFAULT false,
    PRIMARY KEY (platform, source, operation, kind)
) {HOT};

CREATE TABLE settlement (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    platform           text NOT NULL,
    fetch_id           bigint,
    fence              integer,
    credential_id      bigint NOT NULL,
    source             text NOT NULL,
    operation          text NOT NULL,
    outcome            text NOT NULL,
    calls              integer NOT NULL DEFAULT 1,
    probe              boolean NOT NULL DEFAULT false,
    code               text NOT NULL DEFAULT '',
    detail             text NOT NULL DEFAULT '',
    retry_after        double precision,
    reported_remaining integer,
    reported_reset     double precision,
    at                 timestamptz NOT NULL DEFAULT clock_timestamp()
) {HOT};
CREATE INDEX settlement_platform ON settlement (platform, id);

CREATE TABLE credential_event (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    credential_id bigint NOT NULL,
    at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind          text NOT NULL,
    until         timestamptz,
    cause         jsonb
);
CREATE INDEX credential_event_credential ON credential_event (credential_id, id DESC);
"""

LOGS = f"""
CREATE TABLE raw_payload (
    fetch_id     bigint NOT NULL,
    created_at   timestamptz NOT NULL,
    attempt      integer NOT NULL,
    source       text NOT NULL,
    body         bytea NOT NULL,
    PRIMARY KEY (fetch_id, created_at)
) PARTITION BY RANGE (created_at);
-- Both are compressed before they come here.
ALTER TABLE raw_payload ALTER body SET STORAGE EXTERNAL;
ALTER TABLE scrape_fetch ALTER records SET STORAGE EXTERNAL;

CREATE TABLE trace_log (
    at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    fetch_id      bigint NOT NULL,
    request_id    bigint NOT NULL,
    attempt       integer NOT NULL,
    platform      text NOT NULL,
    source        text NOT NULL,
    operation     text NOT NULL,
    credential_id bigint NOT NULL,
    method        text NOT NULL,
    url           text NOT NULL,
    status        integer,
    ms            real,
    bytes         integer,
    outcome       text NOT NULL,
    code          text NOT NULL DEFAULT '',
    detail        text NOT NULL DEFAULT ''
) PARTITION BY RANGE (at);
CREATE INDEX trace_log_request ON trace_log (request_id);
CREATE INDEX trace_log_at ON trace_log USING brin (at);

CREATE TABLE profile_log (
    observed_at    timestamptz NOT NULL,
    platform       text NOT NULL,
    profile_id     text NOT NULL,
    source         text NOT NULL,
    parser_version integer NOT NULL,
    request_id     bigint NOT NULL,
    fetch_id       bigint NOT NULL,
    dimensions     jsonb NOT NULL,
    metrics        jsonb NOT NULL
) PARTITION BY RANGE (observed_at);
CREATE INDEX profile_log_profile ON profile_log (platform, profile_id, observed_at DESC);

CREATE TABLE post_log (
    observed_at    timestamptz NOT NULL,
    platform       text NOT NULL,
    post_id        text NOT NULL,
    source         text NOT NULL,
    parser_version integer NOT NULL,
    request_id     bigint NOT NULL,
    fetch_id       bigint NOT NULL,
    dimensions     jsonb NOT NULL,
    metrics        jsonb NOT NULL
) PARTITION BY RANGE (observed_at);
CREATE INDEX post_log_post ON post_log (platform, post_id, observed_at DESC);

CREATE TABLE broker_decision (
    at       timestamptz NOT NULL,
    platform text NOT NULL,
    seed     bigint NOT NULL,
    settled  integer NOT NULL,
    leased   integer NOT NULL,
    detail   jsonb NOT NULL
) PARTITION BY RANGE (at);
CREATE INDEX broker_decision_at ON broker_decision (platform, at DESC);

CREATE TABLE outbox_event (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id     uuid NOT NULL UNIQUE,
    type         text NOT NULL,
    subject      text NOT NULL,
    data         jsonb NOT NULL,
    occurred_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at timestamptz
) WITH ({LOG_INSERT});
CREATE INDEX outbox_event_unpublished ON outbox_event (id) WHERE published_at IS NULL;

CREATE TABLE asset_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    platform   text NOT NULL,
    entity     text NOT NULL,
    entity_key text NOT NULL,
    field      text NOT NULL,
    url        text NOT NULL,
    status     text NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'PROCESSING', 'COMPLETE', 'FAILED')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    stored_url text,
    UNIQUE (platform, entity, entity_key, field)
) {BUSY};
CREATE INDEX asset_log_pending ON asset_log (entity, id) WHERE status = 'PENDING';

CREATE TABLE quarantine (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind           text NOT NULL CHECK (kind IN ('malformed', 'poison', 'implausible', 'message')),
    platform       text,
    source         text,
    operation      text,
    parser_version integer,
    fetch_id       bigint,
    request_id     bigint,
    payload_at     timestamptz,
    error          text NOT NULL,
    path           text,
    resolved_at    timestamptz
);
CREATE INDEX quarantine_open ON quarantine (platform, source, operation, id) WHERE resolved_at IS NULL;

CREATE TABLE alert (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key         text NOT NULL,
    severity    text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    cause       text NOT NULL,
    impact      text NOT NULL,
    automatic   text NOT NULL,
    action      text NOT NULL,
    opened_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    resolved_at timestamptz
);
CREATE UNIQUE INDEX alert_open ON alert (key) WHERE resolved_at IS NULL;

CREATE TABLE leader (
    name    text PRIMARY KEY,
    epoch   bigint NOT NULL DEFAULT 0,
    holder  text,
    seen_at timestamptz
);

CREATE TABLE api_key (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    prefix     text NOT NULL UNIQUE,
    hash       bytea NOT NULL,
    account_id text,
    scopes     text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used  timestamptz
);
"""

# A default partition means that no insert ever fails for want of a partition; the scheduler makes the days ahead.
PARTITIONS = """
CREATE FUNCTION beat_partitioned() RETURNS SETOF text LANGUAGE sql STABLE AS
$$ SELECT unnest(ARRAY['raw_payload', 'trace_log', 'profile_log', 'post_log', 'broker_decision']) $$;

CREATE FUNCTION beat_make_partitions(days integer) RETURNS integer LANGUAGE plpgsql AS $$
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

CREATE FUNCTION beat_drop_partitions(parent text, keep_days integer) RETURNS integer LANGUAGE plpgsql AS $$
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

CREATE TABLE raw_payload_default PARTITION OF raw_payload DEFAULT;
CREATE TABLE trace_log_default PARTITION OF trace_log DEFAULT;
CREATE TABLE profile_log_default PARTITION OF profile_log DEFAULT;
CREATE TABLE post_log_default PARTITION OF post_log DEFAULT;
CREATE TABLE broker_decision_default PARTITION OF broker_decision DEFAULT;
SELECT beat_make_partitions(3);
"""


def upgrade() -> None:
    for part in (REQUESTS, CREDENTIALS, LOGS, PARTITIONS):
        op.execute(part)


def downgrade() -> None:
    op.execute(
        "DROP TABLE scrape_fetch, lane, scrape_request_log, credential, credential_usage, breaker, settlement, credential_event, "
        "raw_payload, trace_log, profile_log, post_log, broker_decision, outbox_event, asset_log, quarantine, alert, leader, api_key"
    )
    op.execute("DROP FUNCTION beat_drop_partitions, beat_make_partitions, beat_partitioned")
