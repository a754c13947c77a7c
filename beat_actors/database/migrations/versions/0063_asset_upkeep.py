"""Assets: what operators see of them, and how objects that no asset needs are deleted.

Expands. Older processes write none of it. The index is built concurrently and holds up no writer.

Revision ID: 0063
"""

from alembic import op

revision = "0063"
down_revision = "0062"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- `deleting_since`: since when the object is being deleted; from then on no asset may get it. `deleted_at`: when the bucket and the CDN had
    -- deleted it. The row outlives the object for some minutes, so that an upload that had found the object there before is refused.
    ALTER TABLE asset_object
        ADD COLUMN deleting_since timestamptz,
        ADD COLUMN deleted_at timestamptz;
    -- The table is new, and nobody writes it yet.
    -- squawk-ignore require-concurrent-index-creation
    CREATE INDEX asset_object_deleting ON asset_object (deleting_since) WHERE deleting_since IS NOT NULL;
    -- squawk-ignore require-concurrent-index-creation
    CREATE INDEX asset_variant_of ON asset_variant (variant);

    -- What the uploads of a day had taken by `at`, by class: sums of `asset_usage` up to then, kept for an hour. The pace is the difference to now.
    CREATE TABLE asset_sample (
        at       timestamptz NOT NULL,
        class    smallint NOT NULL,
        day      date NOT NULL,
        requests bigint NOT NULL,
        failed   bigint NOT NULL,
        fetched  bigint NOT NULL,
        PRIMARY KEY (at, class)
    );

    -- How far the comparison of rows and bucket has got. One row for each direction. `position`: the last key that was compared.
    CREATE TABLE asset_check (
        direction  text PRIMARY KEY CHECK (direction IN ('rows', 'bucket')),
        position   bytea NOT NULL,
        started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        looked     bigint NOT NULL DEFAULT 0,
        found      bigint NOT NULL DEFAULT 0
    );
    """)
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        # What a build that was interrupted left behind is not valid.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS asset_log_listed")
        op.execute("CREATE INDEX CONCURRENTLY asset_log_listed ON asset_log (status, id)")
        # The new one leads to the same rows, also for older processes.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS asset_log_pending")
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    op.execute("""
    CREATE INDEX asset_log_pending ON asset_log (entity, id) WHERE status = 'PENDING';
    DROP INDEX IF EXISTS asset_log_listed;
    DROP TABLE asset_check, asset_sample;
    DROP INDEX asset_variant_of;
    ALTER TABLE asset_object DROP COLUMN deleting_since, DROP COLUMN deleted_at;
    """)
