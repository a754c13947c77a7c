"""What a field of an answer or a body may be, said in its type for the document of the API. It checks nothing: who reads it does."""

from collections.abc import Iterable

import msgspec


def one_of(names: Iterable[str]) -> msgspec.Meta:
    """`Annotated[str, one_of(STATUSES)]`: one of these words."""
    return msgspec.Meta(extra_json_schema={"enum": list(names)})


def between(least: float, most: float) -> msgspec.Meta:
    """`Annotated[float, between(0, 60)]`: a number of this range."""
    return msgspec.Meta(extra_json_schema={"minimum": least, "maximum": most})
