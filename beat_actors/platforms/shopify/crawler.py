"""ShopifyCrawler: what can be fetched of a store. Each call can only be made with the store's own credential."""

from collections.abc import Mapping
from typing import ClassVar

from beat_actors.platforms.interface import FetchSpec


class ShopifyCrawler:
    """Each method names one upstream call. Times are ISO 8601 text; a bound that is left out does not bound."""

    chains: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "orders_by_store": ("shopify",),
        "products_by_store": ("shopify",),
        "customers_by_store": ("shopify",),
        "shop": ("shopify",),
    }

    @staticmethod
    def fetch_orders_by_store(
        store: str, updated_at_min: str | None = None, updated_at_max: str | None = None
    ) -> FetchSpec:
        """The first page of the orders, open and closed, that were updated within the bounds."""
        return _listing("orders_by_store", store, updated_at_min, updated_at_max)

    @staticmethod
    def fetch_products_by_store(
        store: str, updated_at_min: str | None = None, updated_at_max: str | None = None
    ) -> FetchSpec:
        return _listing("products_by_store", store, updated_at_min, updated_at_max)

    @staticmethod
    def fetch_customers_by_store(
        store: str, updated_at_min: str | None = None, updated_at_max: str | None = None
    ) -> FetchSpec:
        return _listing("customers_by_store", store, updated_at_min, updated_at_max)

    @staticmethod
    def fetch_shop(store: str, **synced_to: str) -> FetchSpec:
        """What the store is. `synced_to` (such as `orders_synced_to`) is kept with it: until when a listing is whole."""
        return FetchSpec("shop", {"store": store, **synced_to}, owner=store)


def _listing(operation: str, store: str, updated_at_min: str | None, updated_at_max: str | None) -> FetchSpec:
    bounds = {"updated_at_min": updated_at_min, "updated_at_max": updated_at_max}
    given = {name: value for name, value in bounds.items() if value is not None}
    return FetchSpec(operation, {"store": store, **given}, owner=store)
