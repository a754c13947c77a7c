"""Instagram's stories, comments, follow relations and insights; the carousel that a picture belongs to.

Revision ID: 0004
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

OBSERVED = """
    source         text NOT NULL,
    parser_version integer NOT NULL,
    request_id     bigint NOT NULL,
    observed_at    timestamptz NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp()
"""


def upgrade() -> None:
    op.execute(f"""
    ALTER TABLE instagram_post ADD COLUMN carousel_id text;

    CREATE TABLE instagram_story (
        story_id       text PRIMARY KEY,
        graph_id       text,
        profile_id     text,
        handle         text,
        shortcode      text,
        media_type     text,
        caption        text,
        permalink      text,
        thumbnail_url  text,
        media_url      text,
        taken_at       timestamptz,
        expiring_at    timestamptz,
        likes          bigint CHECK (likes >= 0),
        comments       bigint CHECK (comments >= 0),
        video_duration double precision,
        {OBSERVED}
    ) WITH (fillfactor = 80, toast_tuple_target = 8160);
    CREATE INDEX instagram_story_profile ON instagram_story (profile_id, taken_at DESC);

    CREATE TABLE instagram_comment (
        comment_id   text PRIMARY KEY,
        shortcode    text,
        post_id      text,
        parent_id    text,
        profile_id   text,
        handle       text,
        text         text,
        commented_at timestamptz,
        likes        bigint CHECK (likes >= 0),
        {OBSERVED}
    ) WITH (fillfactor = 80, toast_tuple_target = 8160);
    CREATE INDEX instagram_comment_shortcode ON instagram_comment (shortcode) WHERE shortcode IS NOT NULL;
    CREATE INDEX instagram_comment_post ON instagram_comment (post_id) WHERE post_id IS NOT NULL;

    CREATE TABLE instagram_follow (
        follow_id       text PRIMARY KEY,
        follower_id     text NOT NULL,
        followed_id     text NOT NULL,
        follower_handle text,
        followed_handle text,
        {OBSERVED}
    ) WITH (fillfactor = 80);
    CREATE INDEX instagram_follow_follower ON instagram_follow (follower_id);
    CREATE INDEX instagram_follow_followed ON instagram_follow (followed_id);

    CREATE TABLE instagram_profile_insight (
        insight_id text PRIMARY KEY,
        profile_id text NOT NULL,
        metric     text NOT NULL,
        period     text,
        timeframe  text,
        breakdown  text,
        dimension  text,
        ends_at    timestamptz,
        value      bigint CHECK (value >= 0),
        {OBSERVED}
    ) WITH (fillfactor = 80);
    CREATE INDEX instagram_profile_insight_profile ON instagram_profile_insight (profile_id, metric);

    CREATE TABLE instagram_post_insight (
        insight_id text PRIMARY KEY,
        post_id    text NOT NULL,
        metric     text NOT NULL,
        period     text,
        breakdown  text,
        dimension  text,
        ends_at    timestamptz,
        value      bigint CHECK (value >= 0),
        {OBSERVED}
    ) WITH (fillfactor = 80);
    CREATE INDEX instagram_post_insight_post ON instagram_post_insight (post_id, metric);
    """)


def downgrade() -> None:
    op.execute("""
    DROP TABLE instagram_post_insight, instagram_profile_insight, instagram_follow, instagram_comment, instagram_story;
    ALTER TABLE instagram_post DROP COLUMN carousel_id;
    """)
