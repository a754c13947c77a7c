"""How many records of a source were held, could not be true, or were refuted by another source, beside what else it did in a week.

Only added. Older processes leave the new columns at 0.

Revision ID: 0083
"""

from alembic import op

revision = "0083"
down_revision = "0082"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- Of `records`: `held` had to be confirmed, `impossible` could not be true. `refuted`: held ones of which another source said what was known before.
    ALTER TABLE source_score
        ADD COLUMN held       bigint NOT NULL DEFAULT 0,
        ADD COLUMN impossible bigint NOT NULL DEFAULT 0,
        ADD COLUMN refuted    bigint NOT NULL DEFAULT 0;
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE source_score DROP COLUMN held, DROP COLUMN impossible, DROP COLUMN refuted")
