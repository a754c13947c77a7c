"""Customers, without anything that identifies them."""

import msgspec

from beat_actors.platforms.interface import told
from beat_actors.platforms.reading import Count, Id, decoder, instant, text
from beat_actors.platforms.shopify.entities import ShopifyCustomer
from beat_actors.platforms.shopify.payloads import Amount, amount, how_many, moment, the_id

CUSTOMER_TELLS = told(ShopifyCustomer)


class Customer(msgspec.Struct):
    id: Id
    updated_at: str
    created_at: str | None = None
    state: str | None = None
    orders_count: Count = None
    total_spent: Amount = None


class CustomerPage(msgspec.Struct):
    customers: list[Customer]


decode_customers = decoder(CustomerPage)


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
