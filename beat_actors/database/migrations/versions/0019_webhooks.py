"""Webhooks: endpoints, their deliveries, and how far the outbox has been told to them.

Revision ID: 0019
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- Two steps, so that no row is written anew: events from before this have no transaction, and are told to nobody.
    ALTER TABLE outbox_event ADD COLUMN xid xid8;
    ALTER TABLE outbox_event ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
    CREATE INDEX outbox_event_position ON outbox_event (xid, id) WHERE xid IS NOT NULL;

    CREATE TABLE webhook_endpoint (
        id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        account_id      text,
        url             text NOT NULL,
        events          text[] NOT NULL,
        key_id          text NOT NULL,
        secret          bytea NOT NULL,
        old_key_id      text,
        old_secret      bytea,
        old_until       timestamptz,
        state           text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'disabled')),
        failures        integer NOT NULL DEFAULT 0,
        trips           integer NOT NULL DEFAULT 0,
        open_until      timestamptz,
        last_success_at timestamptz,
        last_failure_at timestamptz,
        last_error      text,
        created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
    ) WITH (fillfactor = 80);

    CREATE TABLE webhook_delivery (
        id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        endpoint_id  bigint NOT NULL REFERENCES webhook_endpoint ON DELETE CASCADE,
        event_id     uuid NOT NULL,
        type         text NOT NULL,
        data         jsonb NOT NULL,
        occurred_at  timestamptz NOT NULL,
        state        text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
        attempt      integer NOT NULL DEFAULT 0,
        next_at      timestamptz NOT NULL,
        lease_until  timestamptz,
        expires_at   timestamptz NOT NULL,
        status       integer,
        error        text,
        ended_at     timestamptz,
        UNIQUE (endpoint_id, event_id)
    ) WITH (fillfactor = 80);
    CREATE INDEX webhook_delivery_due ON webhook_delivery (endpoint_id, next_at, id) WHERE state = 'pending';
    CREATE INDEX webhook_delivery_leased ON webhook_delivery (endpoint_id) WHERE lease_until IS NOT NULL;
    CREATE INDEX webhook_delivery_late ON webhook_delivery (expires_at) WHERE state = 'pending';
    CREATE INDEX webhook_delivery_ended ON webhook_delivery (ended_at) WHERE state <> 'pending';
    CREATE INDEX webhook_delivery_listed ON webhook_delivery (endpoint_id, id DESC);

    -- One row: the last event that was told to all that want it.
    CREATE TABLE webhook_position (xid xid8 NOT NULL, id bigint NOT NULL);
    INSERT INTO webhook_position VALUES (pg_current_xact_id(), 0);
    """)


def downgrade() -> None:
    op.execute("DROP TABLE webhook_delivery, webhook_endpoint, webhook_position")
    op.execute("ALTER TABLE outbox_event DROP COLUMN xid")
