"""Products and their variants."""

from typing import Any

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.interface import told
from beat_actors.platforms.reading import Count, Id, decoder, instant, text, whole
from beat_actors.platforms.shopify.entities import ShopifyProduct
from beat_actors.platforms.shopify.payloads import Amount, amount, each, how_many, moment, the_id

PRODUCT_TELLS = told(ShopifyProduct)


class Variant(msgspec.Struct):
    id: Id
    title: str | None = None
    sku: str | None = None
    price: Amount = None
    compare_at_price: Amount = None
    # It is negative where a store sells more than it has.
    inventory_quantity: Count = None
    position: Count = None


class Product(msgspec.Struct):
    id: Id
    updated_at: str
    title: str | None = None
    handle: str | None = None
    vendor: str | None = None
    product_type: str | None = None
    status: str | None = None
    tags: str | None = None
    published_at: str | msgspec.UnsetType | None = msgspec.UNSET
    created_at: str | None = None
    variants: list[Variant] | None = None


class ProductPage(msgspec.Struct):
    products: list[Product]


decode_products = decoder(ProductPage)


def product_record(product: Product, store: str, at: str) -> ShopifyProduct:
    published = product.published_at
    known = not isinstance(published, msgspec.UnsetType)
    return ShopifyProduct(
        product_id=the_id(product.id, f"{at}.id"),
        store=store,
        title=text(product.title),
        handle=text(product.handle),
        vendor=text(product.vendor),
        product_type=text(product.product_type),
        status=text(product.status),
        tags=text(product.tags),
        is_published=bool(published) if known else None,
        published_at=None if isinstance(published, msgspec.UnsetType) else instant(published),
        created_at=instant(product.created_at),
        updated_at=moment(product.updated_at, f"{at}.updated_at"),
        variants=each(product.variants, _variant, f"{at}.variants"),
    )


def _variant(variant: Variant, at: str) -> dict[str, Any]:
    return {
        "id": the_id(variant.id, f"{at}.id"),
        "title": text(variant.title),
        "sku": text(variant.sku),
        "price": amount(variant.price, f"{at}.price"),
        "compare_at_price": amount(variant.compare_at_price, f"{at}.compare_at_price"),
        "inventory_quantity": _stock(variant.inventory_quantity, f"{at}.inventory_quantity"),
        "position": how_many(variant.position, f"{at}.position"),
    }


def _stock(value: Count, path: str) -> int | None:
    """A whole number of either sign."""
    found = whole(value)
    if found is None and value not in (None, ""):
        raise Malformed("this is not a number of things", path=path)
    return found
