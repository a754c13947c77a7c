"""The shop that a store's domain names, and how far the store is synchronised."""

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.interface import FetchSpec, told
from beat_actors.platforms.reading import decoder, instant, text
from beat_actors.platforms.shopify.entities import ShopifyStore

STORE_TELLS = told(ShopifyStore)


class Shop(msgspec.Struct):
    name: str
    currency: str
    myshopify_domain: str | None = None
    iana_timezone: str | None = None
    timezone: str | None = None
    plan_name: str | None = None


class ShopAnswer(msgspec.Struct):
    shop: Shop


decode_shop = decoder(ShopAnswer)


def store_record(shop: Shop, spec: FetchSpec) -> ShopifyStore:
    store = spec.params["store"]
    if shop.myshopify_domain and shop.myshopify_domain.lower() != store:
        said = f"asked for {store!r}, the answer is of {shop.myshopify_domain[:80]!r}"
        raise Malformed(said, path="$.shop.myshopify_domain")
    return ShopifyStore(
        store=store,
        name=text(shop.name),
        currency=text(shop.currency),
        timezone=text(shop.iana_timezone or shop.timezone),
        plan=text(shop.plan_name),
        orders_synced_to=instant(spec.params.get("orders_synced_to")),
        products_synced_to=instant(spec.params.get("products_synced_to")),
        customers_synced_to=instant(spec.params.get("customers_synced_to")),
    )
