"""A credential's life: what its checks found, its refreshes, its new secrets; and the calls that are made for its own sake.

Revision ID: 0009
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- `check_at`: NULL is at once, for one that is not dead. `expires_at` of one that `refreshes` is its token's end.
    ALTER TABLE credential
        ADD COLUMN generation             integer NOT NULL DEFAULT 1,
        ADD COLUMN check_at               timestamptz,
        ADD COLUMN checked_at             timestamptz,
        ADD COLUMN check_outcome          text,
        ADD COLUMN check_detail           text,
        ADD COLUMN scopes                 text[],
        ADD COLUMN expires_at             timestamptz,
        ADD COLUMN data_access_expires_at timestamptz,
        ADD COLUMN refreshes              boolean NOT NULL DEFAULT false,
        ADD COLUMN refresh_at             timestamptz,
        ADD COLUMN refreshed_at           timestamptz;

    -- A call that is out for a credential's own sake; its row is its lease, and goes when its outcome is written.
    CREATE TABLE credential_call (
        id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        credential_id bigint NOT NULL UNIQUE,
        platform      text NOT NULL,
        source        text NOT NULL,
        operation     text NOT NULL,
        generation    integer NOT NULL,
        probe         boolean NOT NULL,
        lease_until   timestamptz NOT NULL
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

    ALTER TABLE settlement ADD COLUMN generation integer, ADD COLUMN facts jsonb;

    -- Such a call has no fetch, unless it was made to judge one's answer.
    ALTER TABLE trace_log ALTER fetch_id DROP NOT NULL, ALTER request_id DROP NOT NULL, ALTER attempt DROP NOT NULL;
    """)


def downgrade() -> None:
    op.execute("""
    DELETE FROM trace_log WHERE fetch_id IS NULL;
    ALTER TABLE trace_log ALTER fetch_id SET NOT NULL, ALTER request_id SET NOT NULL, ALTER attempt SET NOT NULL;
    ALTER TABLE settlement DROP COLUMN generation, DROP COLUMN facts;
    DROP TABLE credential_call;
    ALTER TABLE credential DROP COLUMN generation, DROP COLUMN check_at, DROP COLUMN checked_at, DROP COLUMN check_outcome,
        DROP COLUMN check_detail, DROP COLUMN scopes, DROP COLUMN expires_at, DROP COLUMN data_access_expires_at,
        DROP COLUMN refreshes, DROP COLUMN refresh_at, DROP COLUMN refreshed_at;
    """)
