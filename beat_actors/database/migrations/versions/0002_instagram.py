"""Instagram's entities.

Revision ID: 0002
"""

from alembic import op

revision = "0002"
down_revision = "0001"
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
    CREATE TABLE instagram_account (
        profile_id      text PRIMARY KEY,
        handle          text NOT NULL,
        graph_id        text,
        full_name       text,
        biography       text,
        external_url    text,
        profile_pic_url text,
        category        text,
        account_type    text,
        is_private      boolean,
        is_verified     boolean,
        followers       bigint CHECK (followers >= 0),
        following       bigint CHECK (following >= 0),
        media_count     bigint CHECK (media_count >= 0),
        {OBSERVED}
    ) WITH (fillfactor = 80, toast_tuple_target = 8160);
    CREATE INDEX instagram_account_handle ON instagram_account (handle);

    CREATE TABLE instagram_post (
        shortcode      text PRIMARY KEY,
        post_id        text,
        profile_id     text,
        handle         text,
        post_type      text,
        caption        text,
        permalink      text,
        thumbnail_url  text,
        media_url      text,
        taken_at       timestamptz,
        likes          bigint CHECK (likes >= 0),
        comments       bigint CHECK (comments >= 0),
        views          bigint CHECK (views >= 0),
        plays          bigint CHECK (plays >= 0),
        video_duration double precision,
        {OBSERVED}
    ) WITH (fillfactor = 80, toast_tuple_target = 8160);
    CREATE INDEX instagram_post_profile ON instagram_post (profile_id, taken_at DESC);
    """)


def downgrade() -> None:
    op.execute("DROP TABLE instagram_post, instagram_account")
