"""The scope that the priority customer needs; the keys that could ask for it until now keep it.

An API process of the release before this one does not know the scope, so it answers the keys that hold it with 500 until it is replaced.

Revision ID: 0033
"""

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    SET LOCAL lock_timeout = '5s';
    -- Both come back below, and the table holds few rows.
    -- squawk-ignore ban-drop-constraint
    ALTER TABLE api_key DROP CONSTRAINT api_key_scopes, DROP CONSTRAINT api_key_account;
    UPDATE api_key SET scopes = array_append(scopes, 'urgent') WHERE 'submit' = ANY(scopes) AND NOT 'urgent' = ANY(scopes);
    ALTER TABLE api_key
        -- squawk-ignore constraint-missing-not-valid
        ADD CONSTRAINT api_key_scopes CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['submit', 'urgent', 'read', 'operate', 'admin']),
        -- squawk-ignore constraint-missing-not-valid
        ADD CONSTRAINT api_key_account CHECK (account_id IS NULL OR scopes <@ ARRAY['submit', 'urgent', 'read']);
    """)


def downgrade() -> None:
    op.execute("""
    ALTER TABLE api_key DROP CONSTRAINT api_key_scopes, DROP CONSTRAINT api_key_account;
    -- A key with this scope alone opens nothing; a key holds one scope at least, so it is revoked.
    UPDATE api_key SET scopes = '{read}', revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE scopes = '{urgent}';
    UPDATE api_key SET scopes = array_remove(scopes, 'urgent') WHERE 'urgent' = ANY(scopes);
    ALTER TABLE api_key
        ADD CONSTRAINT api_key_scopes CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['submit', 'read', 'operate', 'admin']),
        ADD CONSTRAINT api_key_account CHECK (account_id IS NULL OR scopes <@ ARRAY['submit', 'read']);
    """)
