"""Assets: what an upload needs to know of its URL, the objects in the bucket, and what was spent on them.

Expands. Older processes write `asset_log` without the new columns; a sweep fills them (`class` is NULL until then, and nobody claims such a row). The
indexes are built concurrently and hold up no writer.

Revision ID: 0062
"""

from alembic import op

revision = "0062"
down_revision = "0061"
branch_labels = None
depends_on = None

STATES = "'PENDING', 'WAITING', 'PROCESSING', 'REFETCH', 'COMPLETE', 'FAILED', 'EXPIRED', 'GONE'"
INDEXES = {
    "asset_log_public": "asset_log (public_id)",
    "asset_log_claim": "asset_log (class, deadline, id) WHERE status = 'PENDING' AND class IS NOT NULL",
    "asset_log_wanted": "asset_log (wanted_at) WHERE wanted_at IS NOT NULL",
    "asset_log_later": "asset_log (not_before) WHERE status = 'WAITING'",
    "asset_log_held": "asset_log (lease_until) WHERE status = 'PROCESSING'",
    "asset_log_refetch": "asset_log (platform, parent_kind, parent_key, id) WHERE status = 'REFETCH'",
    "asset_log_content": "asset_log (content) WHERE content IS NOT NULL",
    "asset_log_unprepared": "asset_log (id) WHERE class IS NULL",
}


def upgrade() -> None:
    op.execute(f"""
    -- `public_id`: what readers know an asset by. `account_id`: who had it observed first, and whom it is counted for. `class`: 0 avatar,
    -- 1 thumbnail of a post, 2 story, 3 other. `identity`: of the picture that `url` leads to, whatever its host and signature. `deadline`: when
    -- the URL is expected to die; `expires_at`: as the URL itself says; NULL: it does not. `parent_kind`, `parent_key`: the entity whose refetch brings
    -- a fresh URL. `content`: SHA-256 of the last good picture, an object; `content_identity`: the identity that it was fetched as. `wanted_at`: since
    -- when a reader waits for it. `refetched_at`: when its parent was last asked for because of it.
    ALTER TABLE asset_log
        ADD COLUMN public_id uuid,
        ADD COLUMN account_id text,
        ADD COLUMN class smallint,
        ADD COLUMN identity bytea,
        ADD COLUMN observed_at timestamptz,
        ADD COLUMN expires_at timestamptz,
        ADD COLUMN deadline timestamptz,
        ADD COLUMN parent_kind text,
        ADD COLUMN parent_key text,
        ADD COLUMN fence integer NOT NULL DEFAULT 0,
        ADD COLUMN lease_until timestamptz,
        ADD COLUMN not_before timestamptz,
        ADD COLUMN attempts smallint NOT NULL DEFAULT 0,
        ADD COLUMN failure text,
        ADD COLUMN wanted_at timestamptz,
        ADD COLUMN refetched_at timestamptz,
        ADD COLUMN content bytea,
        ADD COLUMN content_identity bytea,
        ADD COLUMN stored_at timestamptz,
        ADD COLUMN changed_at timestamptz,
        ADD CONSTRAINT asset_log_status_known CHECK (status IN ({STATES})) NOT VALID;
    -- The new constraint allows all that the old one allowed, and processes of the release before write no other status.
    -- squawk-ignore ban-drop-constraint
    ALTER TABLE asset_log DROP CONSTRAINT asset_log_status_check;
    -- For new rows alone, so that no row is written again now.
    ALTER TABLE asset_log ALTER COLUMN public_id SET DEFAULT gen_random_uuid();

    -- What lies in the bucket, under `ab/cd/SHA-256` in hex. `checked_at`: when it was last seen there. `unused_since`: since when no asset has it.
    CREATE TABLE asset_object (
        content      bytea PRIMARY KEY,
        bytes        bigint NOT NULL,
        media_type   text NOT NULL,
        width        integer,
        height       integer,
        created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
        checked_at   timestamptz,
        unused_since timestamptz
    );
    CREATE INDEX asset_object_unused ON asset_object (unused_since) WHERE unused_since IS NOT NULL;

    -- A smaller picture that was made of an object; itself an object in the bucket.
    CREATE TABLE asset_variant (
        content    bytea NOT NULL,
        width      integer NOT NULL,
        media_type text NOT NULL,
        variant    bytea NOT NULL,
        bytes      bigint NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (content, width, media_type)
    );

    -- Subjects whose pictures are not stored any more, as a hash of platform, entity and key.
    CREATE TABLE asset_denied (
        subject bytea PRIMARY KEY,
        at      timestamptz NOT NULL DEFAULT clock_timestamp(),
        actor   text,
        reason  text
    );

    -- What one day's uploads took, by account and class. `requests`, `fetched`: to origins, and bytes from there; `puts`, `stored`: to the bucket.
    CREATE TABLE asset_usage (
        day        date NOT NULL,
        account_id text NOT NULL,
        class      smallint NOT NULL,
        requests   bigint NOT NULL DEFAULT 0,
        fetched    bigint NOT NULL DEFAULT 0,
        puts       bigint NOT NULL DEFAULT 0,
        stored     bigint NOT NULL DEFAULT 0,
        failed     bigint NOT NULL DEFAULT 0,
        PRIMARY KEY (day, account_id, class)
    ) WITH (fillfactor = 70);
    """)
    with op.get_context().autocommit_block():
        # It waits for transactions that run, and nobody waits for it.
        op.execute("SET lock_timeout = 0")
        op.execute("ALTER TABLE asset_log VALIDATE CONSTRAINT asset_log_status_known")
        for name, of in INDEXES.items():
            # What a build that was interrupted left behind is not valid.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            unique = "UNIQUE " if name == "asset_log_public" else ""
            op.execute(f"CREATE {unique}INDEX CONCURRENTLY {name} ON {of}")
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    for name in INDEXES:
        op.execute(f"DROP INDEX IF EXISTS {name}")
    op.execute("""
    DROP TABLE asset_usage, asset_denied, asset_variant, asset_object;
    UPDATE asset_log SET status = 'FAILED' WHERE status IN ('EXPIRED', 'GONE');
    UPDATE asset_log SET status = 'PENDING' WHERE status IN ('WAITING', 'REFETCH');
    ALTER TABLE asset_log
        DROP CONSTRAINT asset_log_status_known,
        ADD CONSTRAINT asset_log_status_check CHECK (status IN ('PENDING', 'PROCESSING', 'COMPLETE', 'FAILED')),
        DROP COLUMN public_id, DROP COLUMN account_id, DROP COLUMN class, DROP COLUMN identity, DROP COLUMN observed_at, DROP COLUMN expires_at,
        DROP COLUMN deadline, DROP COLUMN parent_kind, DROP COLUMN parent_key, DROP COLUMN fence, DROP COLUMN lease_until, DROP COLUMN not_before,
        DROP COLUMN attempts, DROP COLUMN failure, DROP COLUMN wanted_at, DROP COLUMN refetched_at, DROP COLUMN content,
        DROP COLUMN content_identity, DROP COLUMN stored_at, DROP COLUMN changed_at;
    """)
