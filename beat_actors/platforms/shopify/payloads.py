"""The Admin API's shapes, and how they become records.

A shape holds the fields that are kept and no others. They are also what is asked for, and an answer is cut down to them before it is
stored, so nothing else of a buyer reaches a table. Errors name the place and not the value, which may be personal where it is wrong. Tolerant where a value is optional; strict where it is the point: ids, `updated_at`, an order's total.
"""

import re
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.interface import FetchSpec
from beat_actors.platforms.reading import Count, Flag, Id, count, decoder, flag, instant, text, whole
from beat_actors.platforms.shopify.entities import ShopifyCustomer, ShopifyOrder, ShopifyProduct, ShopifyStore

Amount = int | float | str | None
"""Money as it comes: mostly text, now and then a number."""

AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")
ID = re.compile(r"[0-9]{1,20}")


class LineItem(msgspec.Struct):
    id: Id | None = None
    product_id: Id | None = None
    variant_id: Id | None = None
    sku: str | None = None
    title: str | None = None
    variant_title: str | None = None
    quantity: Count = None
    price: Amount = None
    total_discount: Amount = None


class RefundedItem(msgspec.Struct):
    line_item_id: Id | None = None
    quantity: Count = None
    subtotal: Amount = None
    total_tax: Amount = None


class Transaction(msgspec.Struct):
    id: Id | None = None
    kind: str | None = None
    status: str | None = None
    amount: Amount = None
    currency: str | None = None


class Refund(msgspec.Struct):
    id: Id
    created_at: str | None = None
    refund_line_items: list[RefundedItem] | None = None
    transactions: list[Transaction] | None = None


class FulfilledItem(msgspec.Struct):
    id: Id | None = None
    quantity: Count = None


class Fulfillment(msgspec.Struct):
    """No tracking number: with it the carrier tells where the buyer lives."""

    id: Id
    status: str | None = None
    shipment_status: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    line_items: list[FulfilledItem] | None = None


class DiscountCode(msgspec.Struct):
    code: str | None = None
    amount: Amount = None
    type: str | None = None


class Buyer(msgspec.Struct):
    """All that is read of an order's customer, who comes whole."""

    id: Id | None = None


class Order(msgspec.Struct):
    id: Id
    updated_at: str
    total_price: int | float | str
    currency: str
    name: str | None = None
    number: Count = None
    created_at: str | None = None
    processed_at: str | None = None
    cancelled_at: str | None = None
    closed_at: str | msgspec.UnsetType | None = msgspec.UNSET
    test: Flag = None
    source_name: str | None = None
    financial_status: str | None = None
    fulfillment_status: str | msgspec.UnsetType | None = msgspec.UNSET
    subtotal_price: Amount = None
    total_tax: Amount = None
    total_discounts: Amount = None
    current_total_price: Amount = None
    current_subtotal_price: Amount = None
    current_total_tax: Amount = None
    current_total_discounts: Amount = None
    customer: Buyer | None = None
    line_items: list[LineItem] | None = None
    refunds: list[Refund] | None = None
    fulfillments: list[Fulfillment] | None = None
    discount_codes: list[DiscountCode] | None = None


class Variant(msgspec.Struct):
    id: Id
    title: str | None = None
    sku: str | None = None
    price: Amount = None
    compare_at_price: Amount = None
    # Below zero where a store sells what it does not have.
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


class Customer(msgspec.Struct):
    id: Id
    updated_at: str
    created_at: str | None = None
    state: str | None = None
    orders_count: Count = None
    total_spent: Amount = None


class Shop(msgspec.Struct):
    name: str
    currency: str
    myshopify_domain: str | None = None
    iana_timezone: str | None = None
    timezone: str | None = None
    plan_name: str | None = None


class OrderPage(msgspec.Struct):
    orders: list[Order]


class ProductPage(msgspec.Struct):
    products: list[Product]


class CustomerPage(msgspec.Struct):
    customers: list[Customer]


class ShopAnswer(msgspec.Struct):
    shop: Shop


decode_orders = decoder(OrderPage)
decode_products = decoder(ProductPage)
decode_customers = decoder(CustomerPage)
decode_shop = decoder(ShopAnswer)


def fields(shape: type[msgspec.Struct]) -> str:
    """A shape's fields, as the query parameter `fields` names them."""
    return ",".join(shape.__struct_encode_fields__)


def order_record(order: Order, store: str, at: str) -> ShopifyOrder:
    status, closed = order.fulfillment_status, order.closed_at
    total = price(order.total_price, f"{at}.total_price")
    if total is None:
        raise Malformed("an order without a total", path=f"{at}.total_price")
    buyer = order.customer.id if order.customer else None
    return ShopifyOrder(
        platform_order_id=the_id(order.id, f"{at}.id"),
        store=store,
        name=text(order.name),
        number=how_many(order.number, f"{at}.number"),
        created_at=instant(order.created_at),
        updated_at=moment(order.updated_at, f"{at}.updated_at"),
        processed_at=instant(order.processed_at),
        cancelled_at=instant(order.cancelled_at),
        is_closed=None if isinstance(closed, msgspec.UnsetType) else bool(closed),
        closed_at=None if isinstance(closed, msgspec.UnsetType) else instant(closed),
        test=flag(order.test),
        source_name=text(order.source_name),
        financial_status=text(order.financial_status),
        # source: the order's reference. Null says that nothing of it is fulfilled; for us null is what is not known.
        fulfillment_status=None if isinstance(status, msgspec.UnsetType) else text(status) or "unfulfilled",
        currency=text(order.currency),
        total_price=total,
        subtotal_price=price(order.subtotal_price, f"{at}.subtotal_price"),
        total_tax=price(order.total_tax, f"{at}.total_tax"),
        total_discounts=price(order.total_discounts, f"{at}.total_discounts"),
        current_total_price=price(order.current_total_price, f"{at}.current_total_price"),
        current_subtotal_price=price(order.current_subtotal_price, f"{at}.current_subtotal_price"),
        current_total_tax=price(order.current_total_tax, f"{at}.current_total_tax"),
        current_total_discounts=price(order.current_total_discounts, f"{at}.current_total_discounts"),
        customer_id=_optional_id(buyer, f"{at}.customer.id"),
        line_items=_each(order.line_items, _line_item, f"{at}.line_items"),
        refunds=_each(order.refunds, _refund, f"{at}.refunds"),
        fulfillments=_each(order.fulfillments, _fulfillment, f"{at}.fulfillments"),
        discount_codes=_each(order.discount_codes, _discount, f"{at}.discount_codes"),
    )


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
        variants=_each(product.variants, _variant, f"{at}.variants"),
    )


def customer_record(customer: Customer, store: str, at: str) -> ShopifyCustomer:
    return ShopifyCustomer(
        customer_id=the_id(customer.id, f"{at}.id"),
        store=store,
        state=text(customer.state),
        orders_count=how_many(customer.orders_count, f"{at}.orders_count"),
        total_spent=amount(customer.total_spent, f"{at}.total_spent"),
        created_at=instant(customer.created_at),
        updated_at=moment(customer.updated_at, f"{at}.updated_at"),
    )


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


def how_many(value: Count, path: str) -> int | None:
    """A count, whose error does not repeat the value."""
    try:
        return count(value, path)
    except Malformed:
        raise Malformed("this is not a count", path=path) from None


def the_id(value: Id, path: str) -> str:
    if not ID.fullmatch(str(value)):
        raise Malformed("this is not an id", path=path)
    return str(value)


def moment(value: str, path: str) -> datetime:
    """A time that has to be there."""
    found = instant(value)
    if found is None:
        raise Malformed("this is not a time", path=path)
    return found


def amount(value: Amount, path: str) -> Decimal | None:
    """Money as exact as it came; `None` where there is none."""
    if value is None or value == "":
        return None
    if not AMOUNT.fullmatch(str(value)):
        raise Malformed("this is not an amount of money", path=path)
    return Decimal(str(value))


def price(value: Amount, path: str) -> Decimal | None:
    """An amount that is not negative. source: the order's reference, for its totals."""
    found = amount(value, path)
    if found is not None and found < 0:
        raise Malformed("an amount below zero cannot be", path=path)
    return found


def _each(items: list[Any] | None, read: Any, at: str) -> list[dict[str, Any]] | None:
    return None if items is None else [read(item, f"{at}[{i}]") for i, item in enumerate(items)]


def _line_item(item: LineItem, at: str) -> dict[str, Any]:
    return {
        "id": _optional_id(item.id, f"{at}.id"),
        "product_id": _optional_id(item.product_id, f"{at}.product_id"),
        "variant_id": _optional_id(item.variant_id, f"{at}.variant_id"),
        "sku": text(item.sku),
        "title": text(item.title),
        "variant_title": text(item.variant_title),
        "quantity": how_many(item.quantity, f"{at}.quantity"),
        "price": amount(item.price, f"{at}.price"),
        "total_discount": amount(item.total_discount, f"{at}.total_discount"),
    }


def _refund(refund: Refund, at: str) -> dict[str, Any]:
    return {
        "id": the_id(refund.id, f"{at}.id"),
        "created_at": instant(refund.created_at),
        "line_items": _each(refund.refund_line_items, _refunded_item, f"{at}.refund_line_items"),
        "transactions": _each(refund.transactions, _transaction, f"{at}.transactions"),
    }


def _refunded_item(item: RefundedItem, at: str) -> dict[str, Any]:
    return {
        "line_item_id": _optional_id(item.line_item_id, f"{at}.line_item_id"),
        "quantity": how_many(item.quantity, f"{at}.quantity"),
        "subtotal": amount(item.subtotal, f"{at}.subtotal"),
        "total_tax": amount(item.total_tax, f"{at}.total_tax"),
    }


def _transaction(transaction: Transaction, at: str) -> dict[str, Any]:
    return {
        "id": _optional_id(transaction.id, f"{at}.id"),
        "kind": text(transaction.kind),
        "status": text(transaction.status),
        "amount": amount(transaction.amount, f"{at}.amount"),
        "currency": text(transaction.currency),
    }


def _fulfillment(fulfillment: Fulfillment, at: str) -> dict[str, Any]:
    return {
        "id": the_id(fulfillment.id, f"{at}.id"),
        "status": text(fulfillment.status),
        "shipment_status": text(fulfillment.shipment_status),
        "created_at": instant(fulfillment.created_at),
        "updated_at": instant(fulfillment.updated_at),
        "line_items": _each(fulfillment.line_items, _fulfilled_item, f"{at}.line_items"),
    }


def _fulfilled_item(item: FulfilledItem, at: str) -> dict[str, Any]:
    return {"id": _optional_id(item.id, f"{at}.id"), "quantity": how_many(item.quantity, f"{at}.quantity")}


def _discount(code: DiscountCode, at: str) -> dict[str, Any]:
    return {"code": text(code.code), "amount": amount(code.amount, f"{at}.amount"), "type": text(code.type)}


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


def _optional_id(value: Id | None, path: str) -> str | None:
    return None if value is None or value == "" else the_id(value, path)


def _stock(value: Count, path: str) -> int | None:
    """A whole number of either sign."""
    found = whole(value)
    if found is None and value not in (None, ""):
        raise Malformed("this is no number of things", path=path)
    return found
