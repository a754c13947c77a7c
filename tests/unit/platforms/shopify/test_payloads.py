"""Shopify's values: money to the cent, null that means something, and nothing of who the buyer is."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from beat_actors.errors import Malformed
from beat_actors.platforms.interface import FetchSpec, fields_of
from beat_actors.platforms.shopify import platform
from beat_actors.platforms.shopify.entities import ShopifyCustomer
from tests.conftest import FIXTURES

RECORDED = FIXTURES / "shopify/shopify"
STORE = "example.myshopify.com"


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text())


def read(operation: str, payload: Any, **params: str) -> Any:
    spec = FetchSpec(operation, {"store": STORE, **params}, owner=STORE)
    parsed = platform.sources["shopify"].endpoints[operation].parse(msgspec.json.encode(payload), spec)
    return parsed.records


def one_order(**changed: Any) -> Any:
    order = {**recorded("order")["order"], **changed}
    (record,) = read("orders_by_store", {"orders": [{k: v for k, v in order.items() if v is not ...}]})
    return record


def test_a_recorded_order_is_kept_without_the_buyer() -> None:
    record = one_order(customer={**recorded("order")["order"]["customer"], "id": 118281733})
    assert (record.platform_order_id, record.store, record.name, record.number) == ("729612", STORE, "#9672", 234)
    assert (record.total_price, record.total_discounts, record.total_tax) == (Decimal("10.00"), Decimal("5.00"), None)
    assert (record.financial_status, record.fulfillment_status, record.customer_id) == (
        "voided",
        "pending",
        "118281733",
    )
    assert (record.test, record.source_name, record.is_closed, record.closed_at) == (True, "web", False, None)
    assert (record.current_total_price, record.current_total_tax) == (Decimal("9.50"), None)
    assert record.updated_at.isoformat() == "2016-05-17T08:14:36+00:00"
    assert record.processed_at is None
    assert [item["id"] for item in record.line_items] == ["144475388", "5"]
    kept = msgspec.json.encode(record).decode()
    buyer = recorded("order")["order"]
    for gone in (buyer["email"], buyer["customer"]["first_name"], *filter(None, buyer["shipping_address"].values())):
        assert str(gone) not in kept or str(gone) in ("US", "KY")


def test_an_order_reports_what_is_left_of_its_amounts_and_whether_it_is_closed() -> None:
    left = {
        "current_total_price": "7.20",
        "current_subtotal_price": "6.00",
        "current_total_tax": "1.20",
        "current_total_discounts": "0.00",
    }
    record = one_order(**left, closed_at="2026-05-17T04:14:36-04:00", test=False, source_name="pos")
    assert {name: str(getattr(record, name)) for name in left} == left
    assert record.total_price == Decimal("10.00")
    assert (record.is_closed, record.closed_at.isoformat()) == (True, "2026-05-17T08:14:36+00:00")
    assert (record.test, record.source_name) == (False, "pos")
    older = one_order(closed_at=..., test=..., source_name=..., current_total_price=...)
    assert (older.is_closed, older.test, older.source_name, older.current_total_price) == (None, None, None, None)


def test_what_belongs_to_an_order_is_kept_without_who_and_where() -> None:
    refund, fulfillment = recorded("refund")["refund"], recorded("fulfillment")["fulfillment"]
    codes = [{"code": "CBFHQJ", "amount": "10.00", "type": "fixed_amount"}]
    record = one_order(refunds=[refund], fulfillments=[fulfillment], discount_codes=codes)
    assert record.refunds[0]["line_items"][0]["line_item_id"] == "692982160"
    assert record.refunds[0]["transactions"][0]["amount"] == Decimal("209.00")
    assert record.fulfillments[0]["line_items"] == [{"id": "638404467", "quantity": 1}]
    assert record.discount_codes == [{"code": "CBFHQJ", "amount": Decimal("10.00"), "type": "fixed_amount"}]
    kept = msgspec.json.encode(record).decode()
    for gone in (refund["note"], fulfillment["tracking_number"], "Happy Birthday", "authorization-key"):
        assert gone not in kept


@pytest.mark.parametrize(
    ("said", "kept"), [("10.50", "10.50"), (10.5, "10.5"), (10, "10"), ("0.1", "0.1"), (199.99, "199.99"), (0, "0")]
)
def test_money_is_exact_as_text_and_as_a_number(said: Any, kept: str) -> None:
    record = one_order(total_price=said)
    assert record.total_price == Decimal(kept)
    assert str(record.total_price) == kept


@pytest.mark.parametrize(
    "said", ["-1.00", -1, "many", "", "NaN", "Infinity", "1e5", "1,00", "٣", "9" * 16, [], None, ...]
)
def test_a_total_that_cannot_be_is_malformed_with_its_path(said: Any) -> None:
    with pytest.raises(Malformed) as refused:
        one_order(total_price=said)
    assert refused.value.path == "$.orders[0].total_price"


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"id": ""}, "$.orders[0].id"),
        ({"id": -1}, "$.orders[0].id"),
        ({"id": "gid://shopify/Order/1"}, "$.orders[0].id"),
        ({"updated_at": "yesterday"}, "$.orders[0].updated_at"),
        ({"updated_at": None}, "$.orders[0].updated_at"),
        ({"line_items": [{"id": "x"}]}, "$.orders[0].line_items[0].id"),
        ({"refunds": [{"id": 1, "transactions": [{"amount": "x"}]}]}, "$.orders[0].refunds[0].transactions[0].amount"),
    ],
)
def test_what_cannot_be_is_malformed_with_its_path(changed: dict[str, Any], path: str) -> None:
    with pytest.raises(Malformed) as refused:
        one_order(**changed)
    assert refused.value.path == path


def test_what_is_optional_may_be_null_absent_or_new() -> None:
    record = one_order(
        id="7",
        name="#1 🛍 שלום \0",
        customer=None,
        line_items=None,
        refunds=...,
        total_tax="",
        number="12",
        invented=[1],
    )
    assert (record.platform_order_id, record.name, record.number) == ("7", "#1 🛍 שלום �", 12)
    assert (record.customer_id, record.line_items, record.refunds, record.total_tax) == (None, None, None, None)


def test_null_is_unfulfilled_and_absent_is_unknown() -> None:
    assert one_order(fulfillment_status=None).fulfillment_status == "unfulfilled"
    assert one_order(fulfillment_status=...).fulfillment_status is None


def test_a_product_that_is_taken_down_is_not_published() -> None:
    product = recorded("product")["product"]
    up, down = read("products_by_store", {"products": [product, {**product, "published_at": None}]})
    del product["published_at"]
    (unknown,) = read("products_by_store", {"products": [product]})
    assert (up.is_published, down.is_published, unknown.is_published) == (True, False, None)
    assert up.published_at is not None
    assert up.variants[0]["price"] == Decimal("0.00")


def test_stock_may_be_below_zero() -> None:
    product = recorded("product")["product"]
    product["variants"][0]["inventory_quantity"] = -3
    (record,) = read("products_by_store", {"products": [product]})
    assert record.variants[0]["inventory_quantity"] == -3


@pytest.mark.parametrize(("said", "stock"), [("10", 10), (3.0, 3), ("-3", -3), ("", None), (None, None)])
def test_numbers_may_be_text_and_ids_empty(said: Any, stock: int | None) -> None:
    product = recorded("product")["product"]
    product["variants"][0] |= {"inventory_quantity": said, "position": "1"}
    (record,) = read("products_by_store", {"products": [product]})
    assert (record.variants[0]["inventory_quantity"], record.variants[0]["position"]) == (stock, 1)
    order = recorded("order")["order"]
    order["line_items"][0]["product_id"] = ""
    (record,) = read("orders_by_store", {"orders": [order]})
    assert record.line_items[0]["product_id"] is None


def test_a_stock_that_cannot_be_is_malformed() -> None:
    product = recorded("product")["product"]
    for wrong in ("many", 2.5):
        product["variants"][0]["inventory_quantity"] = wrong
        with pytest.raises(Malformed) as refused:
            read("products_by_store", {"products": [product]})
        assert refused.value.path == "$.products[0].variants[0].inventory_quantity"


def test_a_customer_is_numbers_alone() -> None:
    (record,) = read("customers_by_store", {"customers": [recorded("customer")["customer"]]})
    kept = {name: getattr(record, name) for name in fields_of(ShopifyCustomer)}
    del kept["created_at"], kept["updated_at"]
    assert kept == {
        "customer_id": "1",
        "store": STORE,
        "state": "enabled",
        "orders_count": 4,
        "total_spent": Decimal("278.60"),
    }


def test_a_store_carries_the_mark_that_its_fetch_brings() -> None:
    shop = {
        **recorded("shop")["shop"],
        "myshopify_domain": "Example.myshopify.com",
        "iana_timezone": "America/New_York",
    }
    (record,) = read("shop", {"shop": shop}, orders_synced_to="2025-02-01T00:00:00Z")
    assert (record.store, record.currency, record.timezone, record.plan) == (
        STORE,
        "USD",
        "America/New_York",
        "enterprise",
    )
    assert record.orders_synced_to.isoformat() == "2025-02-01T00:00:00+00:00"
    assert (record.products_synced_to, record.customers_synced_to) == (None, None)
    (record,) = read("shop", {"shop": {"name": "x", "currency": "USD", "timezone": "(GMT) London"}})
    assert (record.timezone, record.orders_synced_to) == ("(GMT) London", None)


def test_another_stores_answer_is_malformed() -> None:
    with pytest.raises(Malformed, match="the answer is of"):
        read("shop", recorded("shop"))
