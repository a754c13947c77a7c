"""Whose turn a waiting fetch takes, and which tenant was served last in each priority class.

The column has a constant default and the index is built concurrently, so neither holds up writers. Rows that wait already, and those
that workers of the release before this one insert, belong to one tenant without a name, in the order that they had.

Revision ID: 0032
"""

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    SET LOCAL lock_timeout = '5s';
    ALTER TABLE scrape_fetch ADD COLUMN IF NOT EXISTS tenant text COLLATE "C" NOT NULL DEFAULT '';
    CREATE TABLE IF NOT EXISTS served_tenant (
        platform text NOT NULL,
        priority smallint NOT NULL,
        tenant   text NOT NULL,
        PRIMARY KEY (platform, priority)
    ) WITH (fillfactor = 50);
    -- The account, else the installation's own key, else whoever is on the machine itself.
    CREATE OR REPLACE FUNCTION beat_tenant(account_id text, api_key_id bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
        SELECT coalesce('account/' || $1, 'key/' || $2::text, '')
    $$;
    """)
    with op.get_context().autocommit_block():
        # It waits for transactions that run, and nobody waits for it.
        op.execute("SET lock_timeout = 0")
        # What a build that was interrupted left behind is not valid.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS scrape_fetch_turn")
        op.execute("""
        CREATE INDEX CONCURRENTLY scrape_fetch_turn ON scrape_fetch (lane_id, tenant, id)
        WHERE stage = 'WAITING' AND not_before IS NULL
        """)
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    op.execute("""
    DROP TABLE IF EXISTS served_tenant;
    ALTER TABLE scrape_fetch DROP COLUMN IF EXISTS tenant;
    DROP FUNCTION IF EXISTS beat_tenant(text, bigint);
    """)
