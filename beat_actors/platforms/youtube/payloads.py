"""What all resources of the Data API have in common, and the text of their ids.

A part of a resource may be absent: a channel hides its subscribers, a video has no likes, a livestream has no duration. Three things must
be there: the id of a thing, a number where there is a count, and the items of an answer or the statement that there are none.
"""

import re
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.reading import Count, Id, count, quoted

T = TypeVar("T")

ID = re.compile(r"[A-Za-z0-9_.=-]{1,200}")


class Resource(msgspec.Struct, rename="camel"):
    """Fields are named as in the payload: `publishedAt`."""


class Thumbnail(Resource):
    url: str | None = None


class Thumbnails(Resource):
    """From the largest to the smallest."""

    maxres: Thumbnail | None = None
    standard: Thumbnail | None = None
    high: Thumbnail | None = None
    medium: Thumbnail | None = None
    default: Thumbnail | None = None

    def largest(self) -> str | None:
        sizes = (self.maxres, self.standard, self.high, self.medium, self.default)
        return next((size.url for size in sizes if size is not None and size.url), None)


class PageInfo(Resource):
    total_results: Count = None


class Page(Resource, Generic[T]):
    """A page of a list. An answer without `items` must say in `page_info` that there are none."""

    items: list[T] | msgspec.UnsetType = msgspec.UNSET
    page_info: PageInfo | None = None
    next_page_token: str | None = None

    def all(self) -> Sequence[T]:
        """The items. Raises `Malformed`."""
        if not isinstance(self.items, msgspec.UnsetType):
            return self.items
        if self.page_info is None or count(self.page_info.total_results, "$.pageInfo.totalResults") != 0:
            raise Malformed("an answer has no items, and does not say that there are none", path="$.items")
        return ()


class Status(Resource):
    privacy_status: str | None = None
    made_for_kids: bool | None = None


def the_id(value: Id | None, path: str) -> str:
    """An id that must be there. Raises `Malformed`."""
    if value is None or not ID.fullmatch(str(value)):
        raise Malformed(f"{quoted(value)} is not an id", path=path)
    return str(value)


def optional_id(value: Id | None, path: str) -> str | None:
    return None if value is None or value == "" else the_id(value, path)
