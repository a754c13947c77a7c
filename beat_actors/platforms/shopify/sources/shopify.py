"""Shopify's Admin API, REST: each store's data, with that store's own token.

source: Shopify's reference of the Admin REST API. It is legacy since October 2024; a version is answered for a year at least, after
that the oldest that is left answers in its place. Listings are paged by the header `Link` alone.
"""

import re
from collections.abc import Callable
from urllib.parse import unquote

import msgspec

from beat_actors.errors import BadInput, BeatError
from beat_actors.platforms.interface import (
    Answer,
    Call,
    Check,
    Endpoint,
    ErrorRule,
    FetchSpec,
    Health,
    Limit,
    Outcome,
    Parsed,
    Reported,
    Secret,
    Source,
    Verdict,
)
from beat_actors.platforms.keeping import only
from beat_actors.platforms.shopify.customers import (
    CUSTOMER_TELLS,
    Customer,
    CustomerPage,
    customer_record,
    decode_customers,
)
from beat_actors.platforms.shopify.login import LOGIN
from beat_actors.platforms.shopify.orders import ORDER_TELLS, Order, OrderPage, decode_orders, order_record
from beat_actors.platforms.shopify.payloads import fields
from beat_actors.platforms.shopify.products import PRODUCT_TELLS, Product, ProductPage, decode_products, product_record
from beat_actors.platforms.shopify.shops import STORE_TELLS, Shop, ShopAnswer, decode_shop, store_record
from beat_actors.platforms.shopify.stores import domain

PAGE = 250
BOUNDS = ("updated_at_min", "updated_at_max")

# source: a bucket of 40 calls that leaks 2 a second on the standard plan; larger on the others.
BUCKET = 40
LEAK = 2.0

TOKEN = re.compile(r"[\x21-\x7e]+")
LINK = re.compile(r"<([^<>]*)>([^<]*)")
NEXT = re.compile(r"""\brel\s*=\s*["']?next\b""", re.IGNORECASE)
PAGE_INFO = re.compile(r"[?&]page_info=([A-Za-z0-9+/_=.%-]{1,2000})(?=&|#|$)")
USED = re.compile(r"\s*([0-9]{1,6})/([0-9]{1,6})\s*")


def call(secret: Secret, path: str, query: dict[str, str]) -> Call:
    return Call(
        path,
        query=query,
        headers={"X-Shopify-Access-Token": secret["token"]},
        base=f"https://{domain(secret['shop'])}/admin/api/{{version}}",
    )


def listing(path: str, shape: type[msgspec.Struct], **always: str) -> Callable[[FetchSpec, Secret], Call]:
    """A page of a listing. With a cursor nothing but limit and fields may be said; the cursor remembers the rest."""

    def build(spec: FetchSpec, secret: Secret) -> Call:
        query = {"limit": str(spec.at_most(PAGE)), "fields": fields(shape)}
        if spec.cursor:
            return call(secret, path, {**query, "page_info": spec.cursor})
        bounds = {name: str(spec.params[name]) for name in BOUNDS if name in spec.params}
        return call(secret, path, {**query, **always, **bounds})

    return build


def shop(_spec: FetchSpec, secret: Secret) -> Call:
    return call(secret, "/shop.json", {"fields": fields(Shop)})


def parse_orders(body: bytes, spec: FetchSpec) -> Parsed:
    store = spec.params["store"]
    return Parsed([order_record(item, store, f"$.orders[{i}]") for i, item in enumerate(decode_orders(body).orders)])


def parse_products(body: bytes, spec: FetchSpec) -> Parsed:
    store, page = spec.params["store"], decode_products(body)
    return Parsed([product_record(item, store, f"$.products[{i}]") for i, item in enumerate(page.products)])


def parse_customers(body: bytes, spec: FetchSpec) -> Parsed:
    store, page = spec.params["store"], decode_customers(body)
    return Parsed([customer_record(item, store, f"$.customers[{i}]") for i, item in enumerate(page.customers)])


def parse_shop(body: bytes, spec: FetchSpec) -> Parsed:
    return Parsed([store_record(decode_shop(body).shop, spec)])


def read_check(answer: Answer) -> Health:
    verdict = Shopify().classify(answer)
    if verdict.outcome is Outcome.OK:
        try:
            decode_shop(answer.body)
        except BeatError as error:
            verdict = Verdict(Outcome.MALFORMED, detail=str(error))
    return Health(verdict)


class Shopify(Source):
    name = "shopify"
    base_url = "https://store.myshopify.com"  # stands for the credential's own store, which every call names
    version_setting = "shopify_version"
    secret_fields = ("shop", "token")
    guide = "the store's admin, Settings, Apps and sales channels, Develop apps: a custom app's Admin API access token"
    login = LOGIN
    public_fields = frozenset({"shop"})
    # At most 2 x 20 calls in any 20 s keep to the bucket exactly. Whatever the moment s that one counts from, k whole windows and
    # a rest of r seconds later there were at most 40(k + 1) calls, and 2(20k + r) leaked: 40 - 2r are left in it, 40 at most.
    # A longer window of that rate would let more than 40 in at once; a shorter one would forbid a burst that the bucket allows.
    limits = (Limit("bucket", BUCKET, BUCKET / LEAK),)
    # What is wrong with one store must not need a person where it passes by itself: such a refusal cools the credential down (10, 30, 60 minutes, one probe after each), as a limit does.
    errors = (
        ErrorRule(Outcome.CREDENTIAL_DEAD, message=r"\[API\] invalid api key or access token"),
        ErrorRule(Outcome.CREDENTIAL_DEAD, status=401, ambiguous=True),
        ErrorRule(Outcome.CREDENTIAL_DEAD, status=403, message="invalid username provided for basic auth"),
        ErrorRule(Outcome.PERMISSION_MISSING, status=403, message="requires merchant approval"),
        ErrorRule(Outcome.PERMISSION_MISSING, status=403, message='"errors"'),
        ErrorRule(Outcome.RATE_LIMITED, status=403),  # not the API but what stands before it
        ErrorRule(Outcome.RATE_LIMITED, status=402),  # "Unavailable Shop": frozen, often for minutes only
        ErrorRule(Outcome.RATE_LIMITED, status=423),  # locked
        ErrorRule(Outcome.RATE_LIMITED, status=420),  # the same, until August 2018
        ErrorRule(Outcome.RATE_LIMITED, status=430),  # taken for an attack
        ErrorRule(Outcome.RATE_LIMITED, status=429, wait=2),
        ErrorRule(
            Outcome.MISSING, status=404, message=r'"errors"\s*:\s*"not found"'
        ),  # no such store, version or resource
        ErrorRule(Outcome.UPSTREAM_DOWN, status=range(500, 600)),
    )
    endpoints = {
        # Without a status only the open orders are listed; products are listed whatever theirs.
        "orders_by_store": Endpoint(
            listing("/orders.json", Order, status="any"),
            parse_orders,
            keeps=only(OrderPage),
            page=PAGE,
            tells=ORDER_TELLS,
        ),
        "products_by_store": Endpoint(
            listing("/products.json", Product), parse_products, keeps=only(ProductPage), page=PAGE, tells=PRODUCT_TELLS
        ),
        "customers_by_store": Endpoint(
            listing("/customers.json", Customer),
            parse_customers,
            keeps=only(CustomerPage),
            page=PAGE,
            tells=CUSTOMER_TELLS,
        ),
        "shop": Endpoint(shop, parse_shop, keeps=only(ShopAnswer), tells=STORE_TELLS),
    }
    refusal = re.compile(rb'\s*\{\s*"errors?"\s*:')
    check = Check(lambda secret: call(secret, "/shop.json", {"fields": fields(Shop)}), read_check)

    def check_secret(self, secret: Secret) -> None:
        try:
            domain(secret["shop"])
        except ValueError as error:
            raise BadInput(str(error), field="shop") from None
        if not TOKEN.fullmatch(secret["token"]):
            raise BadInput("a token is made of letters, digits and signs, without spaces", field="token")

    def owner(self, secret: Secret) -> str:
        return domain(secret["shop"])

    def next_cursor(self, answer: Answer) -> str | None:
        """`page_info` of the link to the next page; empty where there is such a link that cannot be read, so that nobody takes
        the page for the last."""
        for url, relation in LINK.findall(answer.headers.get("link", "")):
            if NEXT.search(relation):
                found = PAGE_INFO.search(url)
                return unquote(found[1]) if found else ""
        return None

    def reported(self, answer: Answer) -> Reported | None:
        found = USED.fullmatch(answer.headers.get("x-shopify-shop-api-call-limit", ""))
        if found is None:
            return None
        used, size = int(found[1]), int(found[2])
        return Reported(max(0, size - used), used / LEAK)
