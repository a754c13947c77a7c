"""An observation whose dimensions are logged already refers to the row that has them.

Only added. What older processes write is whole and refers to nothing, and their readers find no dimensions in what refers.

Revision ID: 0053
"""

from alembic import op

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None

# The tables that hold a platform's entities, whichever platforms there are: current state has no fetch_id, the logs have.
ENTITIES = """
SELECT c.table_name FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
WHERE table_schema = current_schema() AND t.table_type = 'BASE TABLE' AND c.column_name IN ('observed_at', 'parser_version', 'fetch_id')
GROUP BY 1 HAVING array_agg(c.column_name::text ORDER BY c.column_name::text) = ARRAY['observed_at', 'parser_version'] ORDER BY 1
"""
# A page's posts are of one answer and are written again together. They find room beside their old versions in a page that is half empty,
# where no index has to learn of them.
POSTS = ("instagram_post", "tiktok_post", "youtube_post")


def upgrade() -> None:
    # A table at a time, so that no writer waits for more than one; what was done before it was interrupted is done.
    with op.get_context().autocommit_block():
        op.execute(f"""
        DO $$ DECLARE entity text; BEGIN
            FOR entity IN {ENTITIES} LOOP
                -- Where the dimensions of what was observed last are logged; NULL: not known, so they are logged with the next observation.
                EXECUTE format('ALTER TABLE %I ADD COLUMN IF NOT EXISTS dimensions_hash bigint,
                    ADD COLUMN IF NOT EXISTS dimensions_at timestamptz, ADD COLUMN IF NOT EXISTS dimensions_fetch bigint', entity);
                COMMIT;
            END LOOP;
        END $$;
        """)
        for log in ("profile_log", "post_log"):
            # The observation that has the dimensions: itself, another of the same thing, or NULL where nothing may refer to this one.
            op.execute(
                f"ALTER TABLE {log} ADD COLUMN IF NOT EXISTS dimensions_at timestamptz, ADD COLUMN IF NOT EXISTS dimensions_fetch bigint"
            )
        for table in POSTS:
            op.execute(f"ALTER TABLE {table} SET (fillfactor = 50)")


def downgrade() -> None:
    for table in POSTS:
        op.execute(f"ALTER TABLE {table} SET (fillfactor = 80)")
    op.execute(f"""
    ALTER TABLE profile_log DROP COLUMN dimensions_at, DROP COLUMN dimensions_fetch;
    ALTER TABLE post_log DROP COLUMN dimensions_at, DROP COLUMN dimensions_fetch;
    DO $$ DECLARE entity text; BEGIN
        FOR entity IN {ENTITIES} LOOP
            EXECUTE format('ALTER TABLE %I DROP COLUMN dimensions_hash, DROP COLUMN dimensions_at, DROP COLUMN dimensions_fetch', entity);
        END LOOP;
    END $$;
    """)
