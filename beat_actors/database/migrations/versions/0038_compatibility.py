"""The oldest code that works with this schema, so that a release runs on until it is replaced.

A migration that takes away what the code of a release before uses says so: UPDATE schema_compatibility SET oldest = its own number.

Revision ID: 0038
"""

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    CREATE TABLE schema_compatibility (
        alone  boolean PRIMARY KEY DEFAULT true CHECK (alone),
        oldest text NOT NULL
    );
    INSERT INTO schema_compatibility (oldest) VALUES ('0033');
    """)


def downgrade() -> None:
    op.execute("DROP TABLE schema_compatibility")
