"""What providers said to be missing or private is remembered, and asked for again at growing intervals.

Only added. Older processes remember nothing and ask each time. They read requests with `accepted_as` "remembered" as they read others.

Revision ID: 0079
"""

from alembic import op

revision = "0079"
down_revision = "0078"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- What was asked for, as `beat_absence` hashes it, and that a provider said in its own words that it is missing or private. `said`: those words as
    -- requests show them. `times`: how often it was said in a row. `ask_at`: from then on a request asks a provider again.
    CREATE TABLE absence (
        key        bytea PRIMARY KEY,
        platform   text NOT NULL,
        code       text NOT NULL CHECK (code IN ('missing', 'private')),
        said       text NOT NULL,
        first_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
        last_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
        times      integer NOT NULL DEFAULT 1,
        ask_at     timestamptz NOT NULL,
        request_id bigint NOT NULL
    );
    -- The table is new, and nobody writes it yet.
    -- squawk-ignore require-concurrent-index-creation
    CREATE INDEX absence_old ON absence (ask_at);

    -- How many items are wanted beside a thing makes no difference to whether it exists.
    CREATE FUNCTION beat_absence(platform text, flow text, params jsonb, account_id text) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT sha256(convert_to(platform || chr(31) || flow || chr(31) || (params - 'posts' - 'limit')::text || chr(31) || coalesce(account_id, ''), 'UTF8'))
    $$;

    -- How long nobody is asked again, after it was said so many times in a row. An account that is private may be opened any day.
    CREATE FUNCTION beat_absence_lasts(code text, times integer) RETURNS interval LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT CASE WHEN times <= 1 THEN interval '1 hour' WHEN times = 2 THEN interval '6 hours'
                    WHEN times < 10 OR code = 'private' THEN interval '1 day' ELSE interval '7 days' END
    $$;

    -- The one that takes its place guarantees the same, with one more word.
    -- squawk-ignore ban-drop-constraint
    ALTER TABLE scrape_request_log DROP CONSTRAINT IF EXISTS scrape_request_log_accepted_as_check;
    ALTER TABLE scrape_request_log ADD CONSTRAINT scrape_request_log_accepted_as_check
        CHECK (accepted_as IN ('new', 'joined', 'stored', 'remembered')) NOT VALID;
    """)


def downgrade() -> None:
    op.execute("""
    UPDATE scrape_request_log SET accepted_as = 'stored' WHERE accepted_as = 'remembered';
    ALTER TABLE scrape_request_log DROP CONSTRAINT scrape_request_log_accepted_as_check;
    ALTER TABLE scrape_request_log ADD CONSTRAINT scrape_request_log_accepted_as_check CHECK (accepted_as IN ('new', 'joined', 'stored')) NOT VALID;
    DROP FUNCTION beat_absence_lasts;
    DROP FUNCTION beat_absence;
    DROP TABLE absence;
    """)
