"""Instagram's things are also found by the ids that the Graph API gives them.

Revision ID: 0016
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    CREATE INDEX instagram_account_graph ON instagram_account (graph_id) WHERE graph_id IS NOT NULL;
    CREATE INDEX instagram_post_id ON instagram_post (post_id) WHERE post_id IS NOT NULL;
    CREATE INDEX instagram_story_graph ON instagram_story (graph_id) WHERE graph_id IS NOT NULL;
    """)


def downgrade() -> None:
    op.execute("DROP INDEX instagram_account_graph, instagram_post_id, instagram_story_graph")
