"""What a process alone cannot do, which keys of the vault it holds, and which processes saw that a provider is not reached.

Revision ID: 0044
"""

from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    ALTER TABLE process ADD COLUMN troubles jsonb NOT NULL DEFAULT '{}', ADD COLUMN vault_keys text[];
    ALTER TABLE settlement ADD COLUMN process text NOT NULL DEFAULT '';
    ALTER TABLE breaker ADD COLUMN unreached jsonb NOT NULL DEFAULT '[]';
    ALTER TABLE owner_breaker ADD COLUMN unreached jsonb NOT NULL DEFAULT '[]';
    """)


def downgrade() -> None:
    op.execute("""
    ALTER TABLE process DROP COLUMN troubles, DROP COLUMN vault_keys;
    ALTER TABLE settlement DROP COLUMN process;
    ALTER TABLE breaker DROP COLUMN unreached;
    ALTER TABLE owner_breaker DROP COLUMN unreached;
    """)
