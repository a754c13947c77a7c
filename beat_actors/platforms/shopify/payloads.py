"""What all answers of the Admin API have in common: ids, counts, times and amounts of money.

A shape holds the fields that are kept and no others. The calls ask for the fields of the shape, and an answer is cut down to them before it is
stored, so no other data of a buyer reach a table. An error names the place and not the value, because a wrong value may be personal. An
optional value may have any form. These must be right: ids, `updated_at`, and the total of an order.
"""

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.reading import Count, Id, count, instant

T = TypeVar("T")

Amount = int | float | str | None
"""Money in a payload: mostly text, sometimes a number."""

AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")
ID = re.compile(r"[0-9]{1,20}")


def fields(shape: type[msgspec.Struct]) -> str:
    """The value of the query parameter `fields` that asks for the fields of a shape."""
    return ",".join(shape.__struct_encode_fields__)


def how_many(value: Count, path: str) -> int | None:
    """A count. Its error does not repeat the value."""
    try:
        return count(value, path)
    except Malformed:
        raise Malformed("this is not a count", path=path) from None


def the_id(value: Id, path: str) -> str:
    if not ID.fullmatch(str(value)):
        raise Malformed("this is not an id", path=path)
    return str(value)


def moment(value: str, path: str) -> datetime:
    """A time that must be there."""
    found = instant(value)
    if found is None:
        raise Malformed("this is not a time", path=path)
    return found


def amount(value: Amount, path: str) -> Decimal | None:
    """Money, exactly as the payload has it; `None` where it has none."""
    if value is None or value == "":
        return None
    if not AMOUNT.fullmatch(str(value)):
        raise Malformed("this is not an amount of money", path=path)
    return Decimal(str(value))


def price(value: Amount, path: str) -> Decimal | None:
    """An amount that is not negative. source: the order's reference, for its totals."""
    found = amount(value, path)
    if found is not None and found < 0:
        raise Malformed("an amount is below zero", path=path)
    return found


def each(items: list[T] | None, read: Callable[[T, str], dict[str, Any]], at: str) -> list[dict[str, Any]] | None:
    """The items of a list, each read with its path."""
    return None if items is None else [read(item, f"{at}[{i}]") for i, item in enumerate(items)]


def optional_id(value: Id | None, path: str) -> str | None:
    return None if value is None or value == "" else the_id(value, path)
