"""Notifications: where alerts are sent, the messages that wait, and what each sink was told.

Expands. Older processes leave the new columns of `alert` empty: their alerts belong to no platform and have no known end.

Revision ID: 0078
"""

from alembic import op

revision = "0078"
down_revision = "0077"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- over_at: when the cause is expected to be gone, where that is known.
    ALTER TABLE alert ADD COLUMN platform text, ADD COLUMN over_at timestamptz;

    -- target: what may be shown of the address. secret: the sealed address and key. private: may be at a private address.
    CREATE TABLE notify_sink (
        id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name            text NOT NULL UNIQUE,
        kind            text NOT NULL CHECK (kind IN ('email', 'slack', 'pagerduty', 'alertmanager', 'webhook')),
        target          text NOT NULL,
        recipients      text[] NOT NULL DEFAULT '{}',
        sender          text,
        key_id          text NOT NULL,
        secret          bytea NOT NULL,
        severity        text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
        platforms       text[],
        hours           text,
        days            text,
        timezone        text NOT NULL DEFAULT 'UTC',
        group_by        text NOT NULL CHECK (group_by IN ('all', 'rule')),
        repeat_seconds  integer,
        resolved        boolean NOT NULL DEFAULT true,
        state           text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused')),
        from_settings   boolean NOT NULL DEFAULT false,
        private         boolean NOT NULL DEFAULT false,
        failures        integer NOT NULL DEFAULT 0,
        open_until      timestamptz,
        last_success_at timestamptz,
        last_failure_at timestamptz,
        last_error      text,
        created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
    ) WITH (fillfactor = 70);

    -- One message of a group of alerts to a sink. Of a group at most one waits, so the queue cannot grow.
    CREATE TABLE notification (
        id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        sink_id     bigint NOT NULL REFERENCES notify_sink ON DELETE CASCADE,
        group_key   text NOT NULL,
        test        boolean NOT NULL DEFAULT false,
        state       text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'failed', 'dropped')),
        attempt     integer NOT NULL DEFAULT 0,
        created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
        next_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
        lease_until timestamptz,
        expires_at  timestamptz NOT NULL,
        ended_at    timestamptz,
        firing      integer,
        resolved    integer,
        status      integer,
        error       text
    ) WITH (fillfactor = 70);
    CREATE UNIQUE INDEX notification_pending ON notification (sink_id, group_key) WHERE state = 'pending';
    CREATE INDEX notification_last ON notification (sink_id, group_key, ended_at) WHERE state IN ('sent', 'failed');
    CREATE INDEX notification_made ON notification (sink_id, created_at);
    CREATE INDEX notification_ended ON notification (ended_at) WHERE state <> 'pending';

    -- What a sink was told and is not over. severity: the one that was told last.
    CREATE TABLE notification_told (
        sink_id   bigint NOT NULL REFERENCES notify_sink ON DELETE CASCADE,
        alert_id  bigint NOT NULL REFERENCES alert ON DELETE CASCADE,
        group_key text NOT NULL,
        severity  text NOT NULL,
        told_at   timestamptz NOT NULL,
        PRIMARY KEY (sink_id, alert_id)
    ) WITH (fillfactor = 70);
    CREATE INDEX notification_told_alert ON notification_told (alert_id);
    """)


def downgrade() -> None:
    op.execute("DROP TABLE notification_told, notification, notify_sink")
    op.execute("ALTER TABLE alert DROP COLUMN platform, DROP COLUMN over_at")
