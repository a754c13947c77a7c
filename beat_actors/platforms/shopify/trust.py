"""What a store's numbers cannot be. Shopify is the place where they arise, so no range is learnt and no other source can be asked."""

from datetime import UTC, datetime

from beat_actors.platforms.interface import EntityRules, NeverMore, Number, Trust
from beat_actors.platforms.shopify.entities import ShopifyCustomer, ShopifyOrder, ShopifyProduct

ORDER = EntityRules(
    record=ShopifyOrder,
    version=1,
    key="platform_order_id",
    numbers=(
        Number("total_price"),
        Number("subtotal_price"),
        Number("total_tax"),
        Number("total_discounts"),
        Number("current_total_price"),
        Number("current_subtotal_price"),
        Number("current_total_tax"),
        Number("current_total_discounts"),
    ),
    dates=("created_at", "updated_at"),
    never=(NeverMore("total_tax", "total_price"),),
)
PRODUCT = EntityRules(
    record=ShopifyProduct,
    version=1,
    key="product_id",
    dates=("created_at", "updated_at"),
)
CUSTOMER = EntityRules(
    record=ShopifyCustomer,
    version=1,
    key="customer_id",
    numbers=(Number("orders_count", drop_from=20), Number("total_spent")),
    dates=("created_at", "updated_at"),
)

# Stores bring data along from before Shopify opened in 2006.
TRUST = Trust(since=datetime(1995, 1, 1, tzinfo=UTC), entities=(ORDER, PRODUCT, CUSTOMER))
