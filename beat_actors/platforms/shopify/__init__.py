"""Shopify."""

from beat_actors.platforms.interface import Platform
from beat_actors.platforms.shopify.crawler import ShopifyCrawler
from beat_actors.platforms.shopify.entities import CUSTOMER, ORDER, PRODUCT, STORE
from beat_actors.platforms.shopify.flows import FLOWS
from beat_actors.platforms.shopify.sources.shopify import Shopify
from beat_actors.platforms.shopify.trust import TRUST

platform = Platform(
    name="shopify",
    sources={Shopify.name: Shopify()},
    chains=ShopifyCrawler.chains,
    flows=FLOWS,
    entities=(STORE, ORDER, PRODUCT, CUSTOMER),
    trust=TRUST,
    record_lists=frozenset({"orders", "products", "customers"}),
)

__all__ = ["ShopifyCrawler", "platform"]
