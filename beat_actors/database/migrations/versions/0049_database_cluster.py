"""The cluster in which a database lives, so that one which was restored into another goes on counting its transactions upwards.

Revision ID: 0049
"""

from alembic import op

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- One row. `identifier`: pg_control_system().system_identifier of the cluster; NULL until a process has connected. `era` is added to the
    -- cluster's transaction numbers. `last_xid`: the last number of before the era, and `restored_at`: when it began; NULL in the first one.
    CREATE TABLE database_cluster (
        only_one    boolean PRIMARY KEY DEFAULT true CHECK (only_one),
        identifier  bigint,
        era         bigint NOT NULL DEFAULT 0,
        last_xid    xid8,
        restored_at timestamptz
    );
    INSERT INTO database_cluster DEFAULT VALUES;

    CREATE FUNCTION beat_xid_in_era(xid xid8) RETURNS xid8 LANGUAGE plpgsql STABLE AS $$ BEGIN
        RETURN (xid::text::bigint + coalesce((SELECT era FROM public.database_cluster), 0))::text::xid8;
    END $$;
    ALTER TABLE outbox_event ALTER COLUMN xid SET DEFAULT beat_xid_in_era(pg_current_xact_id());
    ALTER TABLE change_log ALTER COLUMN xid SET DEFAULT beat_xid_in_era(pg_current_xact_id());
    """)


def downgrade() -> None:
    op.execute("""
    ALTER TABLE outbox_event ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
    ALTER TABLE change_log ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
    DROP FUNCTION beat_xid_in_era(xid8);
    DROP TABLE database_cluster;
    """)
