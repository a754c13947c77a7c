"""Assets: the deletion of an object notes the bucket and the CDN separately, and is tried again later.

Expands. Older processes write none of it, and delete what they find as before. The index is built concurrently and holds up no writer.

Revision ID: 0065
"""

from alembic import op

revision = "0065"
down_revision = "0064"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- `removed_at`: when the bucket had deleted the object; the CDN comes after it. `retry_at`: when the deletion is tried again, after
    -- `delete_tries` failures.
    ALTER TABLE asset_object
        ADD COLUMN removed_at timestamptz,
        ADD COLUMN retry_at timestamptz,
        ADD COLUMN delete_tries smallint NOT NULL DEFAULT 0;
    """)
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        # What a build that was interrupted left behind is not valid.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS asset_object_to_delete")
        op.execute(
            "CREATE INDEX CONCURRENTLY asset_object_to_delete ON asset_object (coalesce(retry_at, deleting_since))"
            " WHERE deleting_since IS NOT NULL AND deleted_at IS NULL"
        )
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    op.execute("""
    DROP INDEX IF EXISTS asset_object_to_delete;
    ALTER TABLE asset_object DROP COLUMN removed_at, DROP COLUMN retry_at, DROP COLUMN delete_tries;
    """)
