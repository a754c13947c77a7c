"""Shopify's recordings."""

from typing import Any

from beat_actors.platforms.interface import Outcome
from beat_actors.platforms.shopify.simulator import store_of
from beat_actors.simulator import Person, Population
from tests.conformance.recordings import Recording, Refusal

PARAMS = {
    "store": "example.myshopify.com",
    "updated_at_min": "2025-01-01T00:00:00Z",
    "updated_at_max": "2025-02-01T00:00:00Z",
}
"""A value for each parameter of the operations and flows."""


def there(people: Population, person: Person, operation: str) -> dict[str, Any]:
    """What its simulated provider has of a store, which goes by the token; all of it, whenever it was changed."""
    del people, person, operation
    token = "shpat_store-000007"
    store = store_of(token).domain
    return {"store": store, "shop": store, "token": token, "updated_at_min": None, "updated_at_max": None}


PUBLIC_FIELDS = {"shop": "example.myshopify.com"}
"""Fields of a credential that are no secrets."""

STORE = {"store": "example.myshopify.com"}
RECORDED_STORE = {"store": "umetm.etlsoolet.msr"}  # its domain was replaced


def page_of(name: str) -> Any:
    """A recording of one thing as a page that holds it."""
    return lambda payload: {f"{name}s": [payload[name]]}


GOOD = (
    Recording("shopify/shopify/orders.json", "shopify", "orders_by_store", STORE, 1),
    Recording("shopify/shopify/order.json", "shopify", "orders_by_store", STORE, 1, wrap=page_of("order")),
    # The list without the object that holds it.
    Recording(
        "shopify/shopify/products.json", "shopify", "products_by_store", STORE, 4, wrap=lambda page: {"products": page}
    ),
    Recording("shopify/shopify/product.json", "shopify", "products_by_store", STORE, 1, wrap=page_of("product")),
    Recording("shopify/shopify/customers_search.json", "shopify", "customers_by_store", STORE, 1),
    Recording("shopify/shopify/customer.json", "shopify", "customers_by_store", STORE, 1, wrap=page_of("customer")),
    Recording("shopify/shopify/shop.json", "shopify", "shop", RECORDED_STORE, 1),
)
MISSING: tuple[Recording, ...] = ()
ERRORS = "shopify/shopify/errors/error_"
REFUSALS = (
    Refusal(f"{ERRORS}402_unavailable_shop.json", "shopify", Outcome.RATE_LIMITED),
    Refusal(f"{ERRORS}429_calls_per_second.json", "shopify", Outcome.RATE_LIMITED, 2),
)
READ_ELSEWHERE = (
    "shopify/shopify/headers_link_pagination.json",
    "shopify/shopify/refund.json",
    "shopify/shopify/fulfillment.json",
)
