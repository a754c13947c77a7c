"""Credentials and fetches that belong to somebody; calls that answer many fetches; cursors that stand in headers.

Revision ID: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    ALTER TABLE credential ADD COLUMN owner text;
    ALTER TABLE lane ADD COLUMN owner text NOT NULL DEFAULT '';
    ALTER TABLE lane DROP CONSTRAINT lane_platform_operation_priority_sources_key;
    ALTER TABLE lane ADD UNIQUE (platform, operation, priority, sources, owner);
    ALTER TABLE scrape_fetch ADD COLUMN owner text, ADD COLUMN call_of bigint;
    CREATE INDEX scrape_fetch_shared ON scrape_fetch (call_of) WHERE call_of IS NOT NULL AND stage = 'LEASED';
    ALTER TABLE raw_payload ADD COLUMN next_cursor text;
    """)


def downgrade() -> None:
    op.execute("""
    ALTER TABLE raw_payload DROP COLUMN next_cursor;
    ALTER TABLE scrape_fetch DROP COLUMN call_of, DROP COLUMN owner;
    ALTER TABLE lane DROP CONSTRAINT lane_platform_operation_priority_sources_owner_key;
    DELETE FROM lane WHERE owner <> '';
    ALTER TABLE lane ADD UNIQUE (platform, operation, priority, sources);
    ALTER TABLE lane DROP COLUMN owner;
    ALTER TABLE credential DROP COLUMN owner;
    """)
