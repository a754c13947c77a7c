"""Requests are found by their tags, and what is known of a kind is listed account by account.

`request_tag` has a row for each tag of each request that came since, with a hash of the tag's name and value; two triggers keep it, so that code of the release before fills it as
well. Requests from before are not found by their tags. The indexes are built concurrently and hold up no writer.

Revision ID: 0056
"""

from alembic import op

revision = "0056"
down_revision = "0055"
branch_labels = None
depends_on = None

LISTED = {
    "instagram_account": "profile_id",
    "instagram_post": "shortcode",
    "instagram_story": "story_id",
    "instagram_comment": "comment_id",
    "instagram_follow": "follow_id",
    "instagram_profile_insight": "insight_id",
    "instagram_post_insight": "insight_id",
    "shopify_store": "store",
    "order": "platform_order_id",
    "shopify_product": "product_id",
    "shopify_customer": "customer_id",
    "tiktok_account": "profile_id",
    "tiktok_post": "post_id",
    "tiktok_comment": "comment_id",
    "youtube_account": "profile_id",
    "youtube_post": "post_id",
    "youtube_comment": "comment_id",
}
"""The key of each table of things. An account's page of a kind reads the index (account_id, key)."""


def upgrade() -> None:
    op.execute("""
    CREATE TABLE request_tag (
        account_id text NOT NULL,
        tag        uuid NOT NULL,
        request_id bigint NOT NULL,
        PRIMARY KEY (account_id, tag, request_id)
    );
    CREATE INDEX request_tag_of_all ON request_tag (tag, request_id);

    CREATE FUNCTION beat_keep_tags() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO request_tag (account_id, tag, request_id)
            SELECT coalesce(NEW.account_id, ''), md5(t.key || chr(31) || t.value)::uuid, NEW.id FROM jsonb_each_text(NEW.tags) t
            ON CONFLICT DO NOTHING;
        ELSE
            DELETE FROM request_tag r USING jsonb_each_text(OLD.tags) t
            WHERE r.account_id = coalesce(OLD.account_id, '') AND r.tag = md5(t.key || chr(31) || t.value)::uuid AND r.request_id = OLD.id;
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER scrape_request_log_tags AFTER INSERT ON scrape_request_log
        FOR EACH ROW WHEN (NEW.tags IS NOT NULL) EXECUTE FUNCTION beat_keep_tags();
    CREATE TRIGGER scrape_request_log_tags_gone AFTER DELETE ON scrape_request_log
        FOR EACH ROW WHEN (OLD.tags IS NOT NULL) EXECUTE FUNCTION beat_keep_tags();
    """)
    with op.get_context().autocommit_block():
        # It waits for transactions that run, and nobody waits for it.
        op.execute("SET lock_timeout = 0")
        for table, key in LISTED.items():
            # What a build that was interrupted left behind is not valid.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {table}_of_account")
            op.execute(f'CREATE INDEX CONCURRENTLY {table}_of_account ON "{table}" (account_id, {key})')
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    for table in LISTED:
        op.execute(f"DROP INDEX IF EXISTS {table}_of_account")
    op.execute("""
    DROP TRIGGER scrape_request_log_tags ON scrape_request_log;
    DROP TRIGGER scrape_request_log_tags_gone ON scrape_request_log;
    DROP FUNCTION beat_keep_tags;
    DROP TABLE request_tag;
    """)
