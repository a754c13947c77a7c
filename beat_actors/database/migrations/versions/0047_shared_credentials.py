"""Find the shared credentials that can serve now, or soonest, by indexes, however many there are.

`credential_ready` holds those without a rest, `credential_later` those with one, in the order in which they end, `credential_shared` all.
The indexes are built concurrently, so that they hold up no writer.

Revision ID: 0047
"""

from alembic import op

revision = "0047"
down_revision = "0045"
branch_labels = None
depends_on = None

USABLE = "shared AND enabled AND dead_at IS NULL"
INDEXES = {
    "credential_ready": f"(platform, source, hashint8(id)) WHERE {USABLE} AND greatest(disabled_till, full_until) IS NULL",
    "credential_later": f"(platform, source, greatest(disabled_till, full_until)) WHERE {USABLE} AND greatest(disabled_till, full_until) IS NOT NULL",
    "credential_shared": "(platform, source, hashint8(id)) WHERE shared",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # It waits for transactions that run, and nobody waits for it.
        op.execute("SET lock_timeout = 0")
        for name, of in INDEXES.items():
            # What a build that was interrupted left behind is not valid.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON credential {of}")
        op.execute("SET lock_timeout = '2s'")


def downgrade() -> None:
    op.execute("DROP INDEX IF EXISTS credential_ready, credential_later, credential_shared")
