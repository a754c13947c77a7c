"""YouTube's entities.

Revision ID: 0007
"""

from alembic import op

revision = "0007"
down_revision = "0006"
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
    CREATE TABLE youtube_account (
        profile_id          text PRIMARY KEY,
        handle              text,
        full_name           text,
        biography           text,
        country             text,
        language            text,
        profile_pic_url     text,
        uploads_playlist_id text,
        privacy_status      text,
        is_made_for_kids    boolean,
        is_followers_hidden boolean,
        published_at        timestamptz,
        followers           bigint CHECK (followers >= 0),
        media_count         bigint CHECK (media_count >= 0),
        views               bigint CHECK (views >= 0),
        {OBSERVED}
    ) WITH (fillfactor = 80, toast_tuple_target = 8160);
    CREATE INDEX youtube_account_handle ON youtube_account (handle) WHERE handle IS NOT NULL;

    CREATE TABLE youtube_post (
        post_id            text PRIMARY KEY,
        profile_id         text,
        channel_title      text,
        title              text,
        description        text,
        thumbnail_url      text,
        tags               jsonb,
        category_id        text,
        language           text,
        audio_language     text,
        broadcast          text,
        privacy_status     text,
        is_made_for_kids   boolean,
        taken_at           timestamptz,
        scheduled_at       timestamptz,
        started_at         timestamptz,
        ended_at           timestamptz,
        views              bigint CHECK (views >= 0),
        likes              bigint CHECK (likes >= 0),
        comments           bigint CHECK (comments >= 0),
        concurrent_viewers bigint CHECK (concurrent_viewers >= 0),
        video_duration     double precision,
        {OBSERVED}
    ) WITH (fillfactor = 80, toast_tuple_target = 8160);
    CREATE INDEX youtube_post_profile ON youtube_post (profile_id, taken_at DESC);

    CREATE TABLE youtube_comment (
        comment_id   text PRIMARY KEY,
        post_id      text NOT NULL,
        parent_id    text,
        profile_id   text,
        author_name  text,
        text         text,
        commented_at timestamptz,
        edited_at    timestamptz,
        likes        bigint CHECK (likes >= 0),
        replies      bigint CHECK (replies >= 0),
        {OBSERVED}
    ) WITH (fillfactor = 80, toast_tuple_target = 8160);
    CREATE INDEX youtube_comment_post ON youtube_comment (post_id, commented_at DESC);
    """)


def downgrade() -> None:
    op.execute("DROP TABLE youtube_comment, youtube_post, youtube_account")
