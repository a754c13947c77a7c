"""Know which credentials have used up their own limits, and find an owner's credentials, so that turns load only what they have a use for.

The index is built concurrently, so that it holds up no writer. Code of the release before leaves the column as it is: what it says wrongly
is put right when the credential is next looked at.

Revision ID: 0043
"""

from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE credential ADD COLUMN full_until timestamptz")
    with op.get_context().autocommit_block():
        # It waits for transactions that run, and nobody waits for it.
        op.execute("SET lock_timeout = 0")
        # What a build that was interrupted left behind is not valid.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS credential_owner")
        op.execute(
            "CREATE INDEX CONCURRENTLY credential_owner ON credential (platform, source, owner) WHERE owner IS NOT NULL"
        )
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    op.execute("""
    DROP INDEX IF EXISTS credential_owner;
    ALTER TABLE credential DROP COLUMN full_until;
    """)
