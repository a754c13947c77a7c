"""What each account's own requests brought, and until when its own listings are whole.

Revision ID: 0021
"""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- Whose request brought a thing last is a column of the thing; this remembers the others. Read by all four columns.
    CREATE TABLE account_seen (
        account_id text NOT NULL,
        platform   text NOT NULL,
        kind       text NOT NULL,
        key        text NOT NULL,
        PRIMARY KEY (account_id, platform, kind, key)
    );
    CREATE TABLE account_mark (
        account_id text NOT NULL,
        platform   text NOT NULL,
        field      text NOT NULL,
        key        text NOT NULL,
        at         timestamptz NOT NULL,
        PRIMARY KEY (account_id, platform, field, key)
    ) WITH (fillfactor = 80);
    -- Of what was not changed and is new to this account alone; NULL: a change, which is told to all who have the thing.
    ALTER TABLE change_log ADD COLUMN account_id text;
    """)


def downgrade() -> None:
    op.execute("""
    ALTER TABLE change_log DROP COLUMN account_id;
    DROP TABLE account_mark, account_seen;
    """)
