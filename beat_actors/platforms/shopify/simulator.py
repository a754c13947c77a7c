"""Shopify's simulated provider: stores that are computed when they are asked for, each with orders, products and customers that stay as they are.

A token is `shpat_` and the store's name: `shpat_store-000007` opens store-000007.myshopify.com. Where the name ends in a number,
some stores are out of order: …95's token may not read customers, …96 is locked, …97 is frozen.
The bucket is a window here: at most what a full bucket lets through in the time in which it leaks empty. That is stricter than a
bucket, which would let through twice as many if the calls were spread.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from hashlib import blake2b
from typing import Any

import msgspec

from beat_actors.platforms.shopify.stores import domain
from beat_actors.simulator.population import ANCHOR, WORDS
from beat_actors.simulator.provider import (
    Asked,
    Operation,
    Refusals,
    Reply,
    SimulatedProvider,
    Usage,
    Window,
    World,
    reply,
)

UNSCOPED, LOCKED, FROZEN = 95, 96, 97
PAGE, LARGEST = 50, 250
DAY = 86_400
ZONE = timezone(timedelta(hours=-4))
WITH_PAGE_INFO = {"limit", "fields", "page_info"}


class Store(msgspec.Struct, frozen=True):
    """`first_id` begins the ids of its things, which no other store has."""

    domain: str
    first_id: int
    orders: int
    products: int
    customers: int
    seed: int

    @property
    def number(self) -> int:
        digits = self.domain.removesuffix(".myshopify.com").rpartition("-")[2]
        return int(digits) % 100 if digits.isdigit() else 0

    def dice(self, what: str, n: int = 0) -> bytes:
        """Thirty-two bytes that are always the same for the n-th of the store's things."""
        return blake2b(f"{self.seed} {self.domain} {what} {n}".encode(), digest_size=32).digest()

    def times(self, what: str, n: int) -> tuple[int, int]:
        """(created, updated) of the n-th thing, in epoch seconds: the first is the oldest, none is younger than the population."""
        raw = self.dice(f"{what} times", n)
        created = ANCHOR - 3 * DAY - (getattr(self, what) - n) * 7_200 - raw[0] * 20
        return created, created + int.from_bytes(raw[1:3], "big") % (3 * DAY)


class Cursor(msgspec.Struct, frozen=True):
    """What a `page_info` remembers: the listing's filters, and the place that the page begins before."""

    store: str
    what: str
    before: int
    since: float
    until: float
    status: str


def store_of(token: str, seed: int = 1) -> Store:
    """The store that a token opens."""
    try:
        name = domain(f"{token.removeprefix('shpat_')}.myshopify.com")
    except ValueError:
        name = f"store-{blake2b(token.encode(), digest_size=6).hexdigest()}.myshopify.com"
    raw = blake2b(f"{seed} {name}".encode(), digest_size=8).digest()
    return Store(
        domain=name,
        first_id=1_000_000 * (1 + int.from_bytes(raw[:4], "big")),
        orders=300 + raw[4],
        products=20 + raw[5],
        customers=200 + raw[6],
        seed=seed,
    )


def order(store: Store, n: int) -> Mapping[str, Any]:
    raw = store.dice("order", n)
    created, updated = store.times("orders", n)
    items = [_line_item(store, raw, i) for i in range(1 + raw[0] % 3)]
    subtotal = sum(item["quantity"] * int(item["price"].replace(".", "")) for item in items)
    discount = subtotal // 10 if raw[1] % 5 == 0 else 0
    tax = (subtotal - discount) // 5
    is_paid, is_sent = raw[4] % 8 != 0, raw[5] % 3 != 0
    refunds = [_refund(store, n, items[0], updated)] if is_paid and raw[6] % 10 == 0 else []
    return {
        "id": store.first_id + n,
        "admin_graphql_api_id": f"gid://shopify/Order/{store.first_id + n}",
        "email": f"buyer{raw[7]}@example.com",
        "contact_email": f"buyer{raw[7]}@example.com",
        "created_at": _iso(created),
        "updated_at": _iso(updated),
        "processed_at": _iso(created),
        "closed_at": _iso(updated) if is_sent else None,
        "source_name": "pos" if raw[2] % 7 == 0 else "web",
        "cancelled_at": _iso(updated) if _is_cancelled(store, n) else None,
        "number": n + 1,
        "order_number": 1001 + n,
        "name": f"#{1001 + n}",
        "test": raw[3] % 50 == 0,
        "currency": "USD",
        "total_price": _money(subtotal - discount + tax),
        "subtotal_price": _money(subtotal - discount),
        "total_tax": _money(tax),
        "total_discounts": _money(discount),
        "total_line_items_price": _money(subtotal),
        # Of an order that was refunded nothing is left in this simulated provider.
        "current_total_price": _money(0 if refunds else subtotal - discount + tax),
        "current_subtotal_price": _money(0 if refunds else subtotal - discount),
        "current_total_tax": _money(0 if refunds else tax),
        "current_total_discounts": _money(0 if refunds else discount),
        "financial_status": ("partially_refunded" if refunds else "paid") if is_paid else "pending",
        "fulfillment_status": "fulfilled" if is_sent else None,
        "discount_codes": [{"code": "WELCOME", "amount": _money(discount), "type": "percentage"}] if discount else [],
        "note": "please ring twice 🔔",
        "tags": "",
        "line_items": items,
        "fulfillments": [_fulfillment(store, n, items, updated)] if is_sent else [],
        "refunds": refunds,
        "customer": customer(store, raw[7] % store.customers) if raw[8] % 6 else None,
        "shipping_address": _address(raw[7]),
    }


def product(store: Store, n: int) -> Mapping[str, Any]:
    raw = store.dice("product", n)
    created, updated = store.times("products", n)
    title = f"{WORDS[raw[0] % len(WORDS)].capitalize()} {WORDS[raw[1] % len(WORDS)]} ✨"
    number = store.first_id + n
    return {
        "id": number,
        "title": title,
        "body_html": f"<p>{title}</p>",
        "vendor": "Acme",
        "product_type": WORDS[raw[2] % len(WORDS)],
        "handle": f"product-{n}",
        "status": ("active", "active", "active", "archived", "draft")[raw[3] % 5],
        "tags": ", ".join(sorted({WORDS[raw[i] % len(WORDS)] for i in (4, 5)})),
        "created_at": _iso(created),
        "updated_at": _iso(updated),
        "published_at": _iso(created) if raw[6] % 4 else None,
        "variants": [
            {
                "id": number * 10 + i,
                "product_id": number,
                "title": ("Small", "Medium", "Large")[i],
                "sku": f"SKU-{n}-{i}",
                "price": _price(store, n),
                "compare_at_price": None,
                "position": i + 1,
                "inventory_quantity": raw[7 + i] - 20,
            }
            for i in range(1 + raw[10] % 3)
        ],
        "images": [],
        "image": None,
    }


def customer(store: Store, n: int) -> Mapping[str, Any]:
    raw = store.dice("customer", n)
    created, updated = store.times("customers", n)
    return {
        "id": store.first_id + n,
        "email": f"buyer{n}@example.com",
        "first_name": "Ada",
        "last_name": f"Example {n}",
        "phone": f"+1555{n:07d}",
        "created_at": _iso(created),
        "updated_at": _iso(updated),
        "orders_count": raw[0] % 9,
        "state": ("disabled", "enabled", "invited")[raw[1] % 3],
        "total_spent": _money((raw[0] % 9) * 1_995),
        "note": None,
        "tags": "",
        "default_address": _address(n),
    }


def shop(asked: Asked, world: World) -> Reply:
    store = store_of(asked.secret, world.people.seed)
    return _out_of_order(store, "shop") or reply({"shop": _only(asked.query.get("fields"), _shop(store))})


def _shop(store: Store) -> Mapping[str, Any]:
    name = store.domain.removesuffix(".myshopify.com")
    return {
        "id": store.first_id,
        "name": f"{name.replace('-', ' ').title()} 🛍",
        "email": "owner@example.com",
        "shop_owner": "Ada Example",
        "domain": f"www.{name}.example",
        "myshopify_domain": store.domain,
        "currency": "USD",
        "timezone": "(GMT-05:00) Eastern Time (US & Canada)",
        "iana_timezone": "America/New_York",
        "plan_name": "basic",
        "created_at": _iso(ANCHOR - 1_000 * DAY),
    }


def listing(what: str, make: Callable[[Store, int], Mapping[str, Any]]) -> Callable[[Asked, World], Reply]:
    def answer(asked: Asked, world: World) -> Reply:
        query = asked.query
        store = store_of(asked.secret, world.people.seed)
        if refused := _out_of_order(store, what):
            return refused
        limit = query.get("limit", str(PAGE))
        if not limit.isdigit() or not 1 <= int(limit) <= LARGEST:
            return _bad("limit", f"must be 1 to {LARGEST}")
        cursor = _cursor(store, what, query)
        if isinstance(cursor, Reply):
            return cursor
        found = [n for n in range(cursor.before - 1, -1, -1) if _is_listed(store, cursor, n)]
        page, rest = found[: int(limit)], found[int(limit) :]
        links = _links(store, cursor, page, limit, has_next=bool(rest))
        return reply({what: [_only(query.get("fields"), make(store, n)) for n in page]}, headers=links)

    return answer


def _cursor(store: Store, what: str, query: Mapping[str, str]) -> Cursor | Reply:
    """The place to go on from; or why there is none."""
    if "page_info" in query:
        for name in query:
            if name not in WITH_PAGE_INFO:
                return _bad(name, f"{name} cannot be passed when page_info is present.")
        cursor = _decoded(query["page_info"])
        is_own = cursor is not None and (cursor.store, cursor.what) == (store.domain, what)
        return cursor if cursor is not None and is_own else _bad("page_info", "Invalid value.")
    try:
        since, until = (
            datetime.fromisoformat(query.get(name, default)).timestamp()
            for name, default in (
                ("updated_at_min", "1970-01-02T00:00:00Z"),
                ("updated_at_max", "9000-01-01T00:00:00Z"),
            )
        )
    except ValueError:
        return _bad("updated_at", "expected a time in ISO 8601")
    return Cursor(store.domain, what, getattr(store, what), since, until, query.get("status", "open"))


def _decoded(page_info: str) -> Cursor | None:
    try:
        raw = base64.urlsafe_b64decode(page_info + "=" * (-len(page_info) % 4))
        return msgspec.json.decode(raw, type=Cursor)
    except (ValueError, msgspec.MsgspecError):
        return None


def _is_listed(store: Store, cursor: Cursor, n: int) -> bool:
    if cursor.what == "orders" and cursor.status == "open" and _is_cancelled(store, n):
        return False
    return cursor.since <= store.times(cursor.what, n)[1] <= cursor.until


def _links(store: Store, cursor: Cursor, page: Sequence[int], limit: str, *, has_next: bool) -> Mapping[str, str]:
    """The header of a listing of more than one page. Nobody here pages backwards: the way back is the first page."""
    places = {"previous": getattr(store, cursor.what)} if cursor.before < getattr(store, cursor.what) else {}
    if has_next:
        places["next"] = page[-1]
    links = []
    for relation, before in places.items():
        raw = msgspec.json.encode(msgspec.structs.replace(cursor, before=before))
        page_info = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        url = f"https://{store.domain}/admin/api/2025-10/{cursor.what}.json?limit={limit}&page_info={page_info}"
        links.append(f'<{url}>; rel="{relation}"')
    return {"Link": ", ".join(links)} if links else {}


def _out_of_order(store: Store, what: str) -> Reply | None:
    if store.number == FROZEN:
        return reply({"errors": "Unavailable Shop"}, 402)
    if store.number == LOCKED:
        return reply({"errors": "Locked"}, 423)
    if store.number == UNSCOPED and what == "customers":
        return reply({"errors": "[API] This action requires merchant approval for read_customers scope."}, 403)
    return None


def _line_item(store: Store, raw: bytes, i: int) -> dict[str, Any]:
    n = raw[10 + i] % store.products
    number = store.first_id + n
    return {
        "id": (store.first_id + int.from_bytes(raw[20:22], "big")) * 10 + i,
        "product_id": number,
        "variant_id": number * 10,
        "sku": f"SKU-{n}-0",
        "title": f"Thing no. {n}",
        "variant_title": "Small",
        "quantity": 1 + raw[13 + i] % 2,
        "price": _price(store, n),
        "total_discount": "0.00",
        "properties": [{"name": "Engraving", "value": "For Ada"}],
    }


def _refund(store: Store, n: int, item: Mapping[str, Any], at: int) -> Mapping[str, Any]:
    number = store.first_id + n
    return {
        "id": number,
        "order_id": number,
        "created_at": _iso(at),
        "note": "arrived broken",
        "refund_line_items": [
            {"id": number, "line_item_id": item["id"], "quantity": 1, "subtotal": item["price"], "total_tax": "0.00"}
        ],
        "transactions": [
            {"id": number, "kind": "refund", "status": "success", "amount": item["price"], "currency": "USD"}
        ],
    }


def _fulfillment(store: Store, n: int, items: Sequence[Mapping[str, Any]], at: int) -> Mapping[str, Any]:
    return {
        "id": store.first_id + n,
        "order_id": store.first_id + n,
        "status": "success",
        "shipment_status": "delivered",
        "created_at": _iso(at),
        "updated_at": _iso(at),
        "tracking_number": f"1Z{n:08d}",
        "line_items": [{"id": item["id"], "quantity": item["quantity"]} for item in items],
    }


def _is_cancelled(store: Store, n: int) -> bool:
    return store.dice("cancelled", n)[0] % 12 == 0


def _price(store: Store, n: int) -> str:
    return _money(500 + 5 * store.dice("price", n)[0])


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone(ZONE).isoformat()


def _address(n: int) -> Mapping[str, Any]:
    return {"name": f"Ada Example {n}", "address1": f"{n} Example Street", "zip": "00000", "country_code": "US"}


def _only(fields: str | None, thing: Mapping[str, Any]) -> Mapping[str, Any]:
    wanted = set(fields.split(",")) if fields else set(thing)
    return {name: value for name, value in thing.items() if name in wanted}


def _bad(name: str, why: str) -> Reply:
    return reply({"errors": {name: why}}, 400)


def _usage_headers(usage: Usage) -> Mapping[str, str]:
    return {"X-Shopify-Shop-Api-Call-Limit": f"{usage.used}/{usage.calls}"} if usage.calls else {}


UNRECOGNIZED = "[API] Invalid API key or access token (unrecognized login or wrong password)"
TOO_FAST = "Exceeded 2 calls per second for api client. Reduce request rates to resume uninterrupted service."

provider = SimulatedProvider(
    name="shopify",
    operations=(
        Operation("orders_by_store", "/orders.json", listing("orders", order), cached=False),
        Operation("products_by_store", "/products.json", listing("products", product), cached=False),
        Operation("customers_by_store", "/customers.json", listing("customers", customer), cached=False),
        Operation("shop", "/shop.json", shop, cached=False),
    ),
    refusals=Refusals(
        no_credential=reply({"errors": UNRECOGNIZED}, 401),
        revoked=reply({"errors": UNRECOGNIZED}, 401),
        over_limit=lambda _wait: reply({"errors": TOO_FAST}, 429, {"Retry-After": "2.0"}),
        # There are no plans' budgets at Shopify: this is how a store is frozen on demand.
        over_quota=lambda _wait: reply({"errors": "Unavailable Shop"}, 402),
        unknown_path=lambda _path: reply({"errors": "Not Found"}, 404),
        outage=reply({"errors": "Service Unavailable"}, 503),
    ),
    limits=(Window(40, 20),),
    credential_header="x-shopify-access-token",
    usage_headers=_usage_headers,
)
