"""Keep of an order what is left of its amounts, whether it is closed, a test, and where it came from.

Only added: rows from before have nothing here until the order is observed again.

Revision ID: 0042
"""

from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    ALTER TABLE "order" ADD COLUMN is_closed boolean, ADD COLUMN closed_at timestamptz, ADD COLUMN test boolean,
        ADD COLUMN source_name text, ADD COLUMN current_total_price numeric, ADD COLUMN current_subtotal_price numeric,
        ADD COLUMN current_total_tax numeric, ADD COLUMN current_total_discounts numeric
    """)


def downgrade() -> None:
    op.execute("""
    ALTER TABLE "order" DROP COLUMN is_closed, DROP COLUMN closed_at, DROP COLUMN test, DROP COLUMN source_name,
        DROP COLUMN current_total_price, DROP COLUMN current_subtotal_price, DROP COLUMN current_total_tax,
        DROP COLUMN current_total_discounts
    """)
