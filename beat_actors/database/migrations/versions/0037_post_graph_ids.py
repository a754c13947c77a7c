"""A post's id in the Graph API stands beside Instagram's own and no longer in its place.

Only added: rows from before keep what they have until the post is observed again. The index is built concurrently, so that it holds up
no writers.

Revision ID: 0037
"""

from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE instagram_post ADD COLUMN IF NOT EXISTS graph_id text")
    with op.get_context().autocommit_block():
        # What a build that was interrupted left behind is not valid.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS instagram_post_graph")
        op.execute(
            "CREATE INDEX CONCURRENTLY instagram_post_graph ON instagram_post (graph_id) WHERE graph_id IS NOT NULL"
        )


def downgrade() -> None:
    op.execute("DROP INDEX instagram_post_graph; ALTER TABLE instagram_post DROP COLUMN graph_id")
