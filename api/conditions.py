"""Parts of an answer, and answers that a caller has already: `Range`, `If-Range` and `If-None-Match` of RFC 9110. No I/O."""

import re
from typing import NamedTuple

from beat_actors.errors import BeatError

ONE_RANGE = re.compile(r"bytes\s*=\s*(\d{0,15})\s*-\s*(\d{0,15})", re.IGNORECASE)


class Span(NamedTuple):
    """A part of a body: its first byte, and how many bytes."""

    first: int
    length: int


class RangeUnsatisfiable(BeatError):
    """Range not satisfiable"""

    code = "range_unsatisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(f"the content has {size} bytes, and the range begins behind them")
        self.size = size


def span_of(wanted: str | None, only_if: str | None, mark: str, size: int) -> Span | None:
    """The part that a caller wants of a body; `None` for the whole body.

    `wanted`: the header `Range`; several ranges, and what is no range of bytes, get the whole body. `only_if`: the header `If-Range`.
    `mark`: the body's ETag without quotes. Raises `RangeUnsatisfiable`.
    """
    if wanted is None or (only_if is not None and only_if.strip() != f'"{mark}"'):
        return None
    found = ONE_RANGE.fullmatch(wanted.strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        length = min(int(found[2]), size)
        if not length:
            raise RangeUnsatisfiable(size)
        return Span(size - length, length)
    first = int(found[1])
    if found[2] and int(found[2]) < first:
        return None
    if first >= size:
        raise RangeUnsatisfiable(size)
    last = min(int(found[2]), size - 1) if found[2] else size - 1
    return Span(first, last - first + 1)


def has_it(known: str | None, mark: str) -> bool:
    """Whether the header `If-None-Match` names this ETag. Weak tags count, as RFC 9110 says."""
    if known is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    return "*" in tags or f'"{mark}"' in tags
