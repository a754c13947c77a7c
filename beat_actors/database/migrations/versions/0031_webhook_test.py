"""How many test events an endpoint and an account were sent in their current minute, and whose endpoints a key made.

Revision ID: 0031
"""

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    CREATE TABLE webhook_test (
        subject text PRIMARY KEY,
        began   timestamptz NOT NULL,
        sent    integer NOT NULL
    ) WITH (fillfactor = 50);
    CREATE INDEX webhook_endpoint_maker ON webhook_endpoint (api_key_id) WHERE api_key_id IS NOT NULL;
    """)


def downgrade() -> None:
    op.execute("DROP TABLE webhook_test")
    op.execute("DROP INDEX webhook_endpoint_maker")
