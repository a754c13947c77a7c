"""Remember which listings are asked for in smaller pages, because the source asked for less.

`subject` is a digest of whose or of what the listing is; `halvings` is how often the page was halved.

Revision ID: 0041
"""

from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    CREATE TABLE smaller_page (
        source    text NOT NULL,
        operation text NOT NULL,
        subject   text NOT NULL,
        halvings  smallint NOT NULL,
        until     timestamptz NOT NULL,
        PRIMARY KEY (source, operation, subject)
    );
    CREATE INDEX smaller_page_until ON smaller_page (until);
    """)


def downgrade() -> None:
    op.execute("DROP TABLE smaller_page")
