"""TikTok's entities.

Revision ID: 0008
"""

from alembic import op

revision = "0008"
down_revision = "0007"
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
    CREATE TABLE tiktok_account (
        profile_id      text PRIMARY KEY,
        handle          text NOT NULL,
        sec_uid         text,
        full_name       text,
        biography       text,
        external_url    text,
        profile_pic_url text,
        is_private      boolean,
        is_verified     boolean,
        followers       bigint CHECK (followers >= 0),
        following       bigint CHECK (following >= 0),
        likes           bigint CHECK (likes >= 0),
        media_count     bigint CHECK (media_count >= 0),
        {OBSERVED}
    ) WITH (fillfactor = 80);
    CREATE INDEX tiktok_account_handle ON tiktok_account (handle);

    CREATE TABLE tiktok_post (
        post_id        text PRIMARY KEY,
        profile_id     text,
        handle         text,
        post_type      text,
        caption        text,
        permalink      text,
        thumbnail_url  text,
        media_url      text,
        taken_at       timestamptz,
        region         text,
        music_id       text,
        music_title    text,
        likes          bigint CHECK (likes >= 0),
        comments       bigint CHECK (comments >= 0),
        views          bigint CHECK (views >= 0),
        shares         bigint CHECK (shares >= 0),
        saves          bigint CHECK (saves >= 0),
        video_duration double precision,
        {OBSERVED}
    ) WITH (fillfactor = 80, toast_tuple_target = 8160);
    CREATE INDEX tiktok_post_profile ON tiktok_post (profile_id, taken_at DESC);

    CREATE TABLE tiktok_comment (
        comment_id   text PRIMARY KEY,
        post_id      text NOT NULL,
        profile_id   text,
        handle       text,
        text         text,
        commented_at timestamptz,
        likes        bigint CHECK (likes >= 0),
        replies      bigint CHECK (replies >= 0),
        {OBSERVED}
    ) WITH (fillfactor = 80);
    CREATE INDEX tiktok_comment_post ON tiktok_comment (post_id, commented_at DESC);
    """)


def downgrade() -> None:
    op.execute("DROP TABLE tiktok_comment, tiktok_post, tiktok_account")
