"""Orders, with their line items, refunds, fulfillments and discounts."""

from typing import Any

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.interface import told
from beat_actors.platforms.reading import Count, Flag, Id, decoder, flag, given, instant, silent_on, text
from beat_actors.platforms.shopify.entities import ShopifyOrder
from beat_actors.platforms.shopify.payloads import Amount, amount, each, how_many, moment, optional_id, price, the_id

# When it was last closed stays known after it was opened again, so null does not clear it.
ORDER_TELLS = told(ShopifyOrder, always={"cancelled_at", "customer_id"})


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
    """It has no tracking number, because with that the carrier reveals where the buyer lives."""

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
    """The id of an order's customer. The payload has the whole customer, and the rest is not read."""

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
    cancelled_at: str | msgspec.UnsetType | None = msgspec.UNSET
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
    customer: Buyer | msgspec.UnsetType | None = msgspec.UNSET
    line_items: list[LineItem] | None = None
    refunds: list[Refund] | None = None
    fulfillments: list[Fulfillment] | None = None
    discount_codes: list[DiscountCode] | None = None


class OrderPage(msgspec.Struct):
    orders: list[Order]


decode_orders = decoder(OrderPage)


def order_record(order: Order, store: str, at: str) -> ShopifyOrder:
    status, closed = order.fulfillment_status, order.closed_at
    total = price(order.total_price, f"{at}.total_price")
    if total is None:
        raise Malformed("an order without a total", path=f"{at}.total_price")
    customer = given(order.customer)
    buyer = customer.id if customer else None
    return ShopifyOrder(
        platform_order_id=the_id(order.id, f"{at}.id"),
        store=store,
        name=text(order.name),
        number=how_many(order.number, f"{at}.number"),
        created_at=instant(order.created_at),
        updated_at=moment(order.updated_at, f"{at}.updated_at"),
        processed_at=instant(order.processed_at),
        cancelled_at=instant(given(order.cancelled_at)),
        is_closed=None if isinstance(closed, msgspec.UnsetType) else bool(closed),
        closed_at=None if isinstance(closed, msgspec.UnsetType) else instant(closed),
        test=flag(order.test),
        source_name=text(order.source_name),
        financial_status=text(order.financial_status),
        # source: the order's reference. Null means that no item is fulfilled. In a record, null would mean that it is unknown.
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
        customer_id=optional_id(buyer, f"{at}.customer.id"),
        line_items=each(order.line_items, _line_item, f"{at}.line_items"),
        refunds=each(order.refunds, _refund, f"{at}.refunds"),
        fulfillments=each(order.fulfillments, _fulfillment, f"{at}.fulfillments"),
        discount_codes=each(order.discount_codes, _discount, f"{at}.discount_codes"),
        untold=silent_on(cancelled_at=(order.cancelled_at,), customer_id=(order.customer,)),
    )


def _line_item(item: LineItem, at: str) -> dict[str, Any]:
    return {
        "id": optional_id(item.id, f"{at}.id"),
        "product_id": optional_id(item.product_id, f"{at}.product_id"),
        "variant_id": optional_id(item.variant_id, f"{at}.variant_id"),
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
        "line_items": each(refund.refund_line_items, _refunded_item, f"{at}.refund_line_items"),
        "transactions": each(refund.transactions, _transaction, f"{at}.transactions"),
    }


def _refunded_item(item: RefundedItem, at: str) -> dict[str, Any]:
    return {
        "line_item_id": optional_id(item.line_item_id, f"{at}.line_item_id"),
        "quantity": how_many(item.quantity, f"{at}.quantity"),
        "subtotal": amount(item.subtotal, f"{at}.subtotal"),
        "total_tax": amount(item.total_tax, f"{at}.total_tax"),
    }


def _transaction(transaction: Transaction, at: str) -> dict[str, Any]:
    return {
        "id": optional_id(transaction.id, f"{at}.id"),
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
        "line_items": each(fulfillment.line_items, _fulfilled_item, f"{at}.line_items"),
    }


def _fulfilled_item(item: FulfilledItem, at: str) -> dict[str, Any]:
    return {"id": optional_id(item.id, f"{at}.id"), "quantity": how_many(item.quantity, f"{at}.quantity")}


def _discount(code: DiscountCode, at: str) -> dict[str, Any]:
    return {"code": text(code.code), "amount": amount(code.amount, f"{at}.amount"), "type": text(code.type)}
