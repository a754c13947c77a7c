"""What Beat knows of a store: orders, products, customers and the store itself.

No name, e-mail address, phone number or postal address of a buyer is kept: a customer is an id.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from beat_actors.platforms.interface import Entity, Listed, Personal, Record, Refetch


class ShopifyOrder(Record, frozen=True, kw_only=True):
    """An order. Amounts are in `currency`, the store's own. `number` counts the store's orders; `name` is what people see (#1001).

    `total_price` and its like are of the order as it was placed; `current_total_price` and its like are what is left of them after edits,
    returns and refunds. `closed_at` is when it was last closed, `is_closed` whether it is: a closed order can be opened again. `test`: no
    money moved. `source_name` is where it came from: web, pos, a draft, or the id of an app.
    `fulfillment_status` is `unfulfilled` where Shopify says null. In the lists amounts are text, as exact as they came:
    `line_items`: id, product_id, variant_id, sku, title, variant_title, quantity, price, total_discount;
    `refunds`: id, created_at, line_items (line_item_id, quantity, subtotal, total_tax), transactions (id, kind, status, amount, currency);
    `fulfillments`: id, status, shipment_status, created_at, updated_at, line_items (id, quantity);
    `discount_codes`: code, amount, type.
    """

    platform_order_id: str
    store: str
    name: str | None = None
    number: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    processed_at: datetime | None = None
    cancelled_at: datetime | None = None
    is_closed: bool | None = None
    closed_at: datetime | None = None
    test: bool | None = None
    source_name: str | None = None
    financial_status: str | None = None
    fulfillment_status: str | None = None
    currency: str | None = None
    total_price: Decimal | None = None
    subtotal_price: Decimal | None = None
    total_tax: Decimal | None = None
    total_discounts: Decimal | None = None
    current_total_price: Decimal | None = None
    current_subtotal_price: Decimal | None = None
    current_total_tax: Decimal | None = None
    current_total_discounts: Decimal | None = None
    customer_id: str | None = None
    line_items: list[dict[str, Any]] | None = None
    refunds: list[dict[str, Any]] | None = None
    fulfillments: list[dict[str, Any]] | None = None
    discount_codes: list[dict[str, Any]] | None = None


class ShopifyProduct(Record, frozen=True, kw_only=True):
    """A product. `variants`: id, title, sku, price, compare_at_price (text, as exact as they came), inventory_quantity, position.

    `published_at` is when it was last published to the online store; `is_published` whether it is.
    """

    product_id: str
    store: str
    title: str | None = None
    handle: str | None = None
    vendor: str | None = None
    product_type: str | None = None
    status: str | None = None
    tags: str | None = None
    is_published: bool | None = None
    published_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    variants: list[dict[str, Any]] | None = None


class ShopifyCustomer(Record, frozen=True, kw_only=True):
    """A customer, as numbers alone. `state` is disabled, invited, enabled or declined."""

    customer_id: str
    store: str
    state: str | None = None
    orders_count: int | None = None
    total_spent: Decimal | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class ShopifyStore(Record, frozen=True, kw_only=True):
    """A store, by its domain. `…_synced_to`: whatever was updated before is known; the next run goes on from there."""

    store: str
    name: str | None = None
    currency: str | None = None
    timezone: str | None = None
    plan: str | None = None
    orders_synced_to: datetime | None = None
    products_synced_to: datetime | None = None
    customers_synced_to: datetime | None = None


NO_METRICS: frozenset[str] = frozenset()
# One run of these brings all that was changed in the store.
SYNC_ORDERS = (Refetch("refresh_orders_by_store", {"store": "store"}),)
SYNC_PRODUCTS = (Refetch("refresh_products_by_store", {"store": "store"}),)
SYNC_CUSTOMERS = (Refetch("refresh_customers_by_store", {"store": "store"}),)

# Shopify keeps the history of an order itself, so that no snapshots are logged.
ORDER = Entity(
    record=ShopifyOrder,
    kind="orders",
    table="order",
    log=None,
    key="platform_order_id",
    metrics=frozenset(
        {
            "total_price",
            "subtotal_price",
            "total_tax",
            "total_discounts",
            "current_total_price",
            "current_subtotal_price",
            "current_total_tax",
            "current_total_discounts",
        }
    ),
    version="updated_at",
    lists=(Listed("stores", "store", refetch=SYNC_ORDERS),),
    newest="created_at",
    refetch=SYNC_ORDERS,
    max_age=3600.0,
    personal=Personal(
        "purchases of a customer (only a number)",
        ("platform_order_id", "name", "customer_id", "line_items", "refunds", "fulfillments", "discount_codes"),
        ("customer_id",),
    ),
)
PRODUCT = Entity(
    record=ShopifyProduct,
    kind="products",
    table="shopify_product",
    log=None,
    key="product_id",
    metrics=NO_METRICS,
    version="updated_at",
    lists=(Listed("stores", "store", refetch=SYNC_PRODUCTS),),
    newest="updated_at",
    refetch=SYNC_PRODUCTS,
    personal=Personal("goods"),
)
CUSTOMER = Entity(
    record=ShopifyCustomer,
    kind="customers",
    table="shopify_customer",
    log=None,
    key="customer_id",
    metrics=frozenset({"orders_count", "total_spent"}),
    version="updated_at",
    lists=(Listed("stores", "store", refetch=SYNC_CUSTOMERS),),
    newest="updated_at",
    refetch=SYNC_CUSTOMERS,
    personal=Personal(
        "totals of a customer (only a number)", ("customer_id", "orders_count", "total_spent"), ("customer_id",)
    ),
)
STORE = Entity(
    record=ShopifyStore,
    kind="stores",
    table="shopify_store",
    log=None,
    key="store",
    metrics=NO_METRICS,
    refetch=(Refetch("refresh_store", {"store": "store"}),),
    personal=Personal("a store's name and domain", ("store", "name")),
)
