"""Shopify's entities. Their `created_at` is Shopify's.

Revision ID: 0005
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

OBSERVED = """
    source         text NOT NULL,
    parser_version integer NOT NULL,
    request_id     bigint NOT NULL,
    observed_at    timestamptz NOT NULL
"""


def upgrade() -> None:
    op.execute(f"""
    CREATE TABLE "order" (
        platform_order_id  text PRIMARY KEY,
        store              text NOT NULL,
        name               text,
        number             bigint CHECK (number >= 0),
        created_at         timestamptz,
        updated_at         timestamptz NOT NULL,
        processed_at       timestamptz,
        cancelled_at       timestamptz,
        financial_status   text,
        fulfillment_status text,
        currency           text NOT NULL,
        total_price        numeric NOT NULL CHECK (total_price >= 0),
        subtotal_price     numeric CHECK (subtotal_price >= 0),
        total_tax          numeric CHECK (total_tax >= 0),
        total_discounts    numeric CHECK (total_discounts >= 0),
        customer_id        text,
        line_items         jsonb,
        refunds            jsonb,
        fulfillments       jsonb,
        discount_codes     jsonb,
        {OBSERVED}
    ) WITH (fillfactor = 80);
    CREATE INDEX order_store ON "order" (store, created_at DESC);

    CREATE TABLE shopify_product (
        product_id   text PRIMARY KEY,
        store        text NOT NULL,
        title        text,
        handle       text,
        vendor       text,
        product_type text,
        status       text,
        tags         text,
        is_published boolean,
        published_at timestamptz,
        created_at   timestamptz,
        updated_at   timestamptz NOT NULL,
        variants     jsonb,
        {OBSERVED}
    ) WITH (fillfactor = 80);
    CREATE INDEX shopify_product_store ON shopify_product (store, updated_at DESC);

    CREATE TABLE shopify_customer (
        customer_id  text PRIMARY KEY,
        store        text NOT NULL,
        state        text,
        orders_count bigint CHECK (orders_count >= 0),
        total_spent  numeric,
        created_at   timestamptz,
        updated_at   timestamptz NOT NULL,
        {OBSERVED}
    ) WITH (fillfactor = 80);
    CREATE INDEX shopify_customer_store ON shopify_customer (store, updated_at DESC);

    CREATE TABLE shopify_store (
        store               text PRIMARY KEY,
        name                text,
        currency            text,
        timezone            text,
        plan                text,
        orders_synced_to    timestamptz,
        products_synced_to  timestamptz,
        customers_synced_to timestamptz,
        {OBSERVED}
    );
    """)


def downgrade() -> None:
    op.execute('DROP TABLE shopify_store, shopify_customer, shopify_product, "order"')
