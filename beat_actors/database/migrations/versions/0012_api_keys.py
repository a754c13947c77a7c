"""What an API key is called, how often it may call, that one of an account never reaches what is everybody's; whose key asked.

Revision ID: 0012
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    ALTER TABLE api_key
        ADD name text NOT NULL DEFAULT '',
        ADD rate_limit integer NOT NULL DEFAULT 6000 CHECK (rate_limit > 0),
        ADD CONSTRAINT api_key_hash CHECK (length(hash) = 32),
        ADD CONSTRAINT api_key_scopes CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['submit', 'read', 'operate', 'admin']),
        ADD CONSTRAINT api_key_account CHECK (account_id IS NULL OR scopes <@ ARRAY['submit', 'read']);
    ALTER TABLE api_key ALTER name DROP DEFAULT, ALTER rate_limit DROP DEFAULT;
    -- Not a foreign key: a key's row is never removed, and a check for each request would only lock it.
    ALTER TABLE scrape_request_log ADD api_key_id bigint;
    """)


def downgrade() -> None:
    op.execute("""
    ALTER TABLE scrape_request_log DROP COLUMN api_key_id;
    ALTER TABLE api_key DROP CONSTRAINT api_key_account, DROP CONSTRAINT api_key_scopes, DROP CONSTRAINT api_key_hash,
        DROP COLUMN rate_limit, DROP COLUMN name;
    """)
