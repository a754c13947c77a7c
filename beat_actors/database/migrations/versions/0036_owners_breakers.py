"""Breakers of single owners, and when the calls began that breakers judge.

Breakers of owners have a table of their own: workers of the release before this one take each row of `breaker` for everybody's.

Revision ID: 0036
"""

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    SET LOCAL lock_timeout = '5s';
    CREATE TABLE owner_breaker (
        platform   text NOT NULL,
        source     text NOT NULL,
        operation  text NOT NULL,
        kind       text NOT NULL CHECK (kind IN ('upstream', 'parser')),
        owner      text NOT NULL,
        since      timestamptz,
        recent     jsonb NOT NULL DEFAULT '[]',
        calls      integer NOT NULL DEFAULT 0,
        failures   integer NOT NULL DEFAULT 0,
        trips      integer NOT NULL DEFAULT 0,
        open_until timestamptz,
        probing    boolean NOT NULL DEFAULT false,
        PRIMARY KEY (platform, source, operation, kind, owner)
    ) WITH (fillfactor = 50);
    ALTER TABLE breaker ADD COLUMN since timestamptz, ADD COLUMN recent jsonb NOT NULL DEFAULT '[]';
    ALTER TABLE settlement ADD COLUMN began timestamptz, ADD COLUMN owner text NOT NULL DEFAULT '';
    """)


def downgrade() -> None:
    op.execute("""
    DROP TABLE owner_breaker;
    ALTER TABLE breaker DROP COLUMN since, DROP COLUMN recent;
    ALTER TABLE settlement DROP COLUMN began, DROP COLUMN owner;
    """)
