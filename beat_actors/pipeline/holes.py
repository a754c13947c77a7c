"""Pages are read record by record where they cannot be read whole: a record that cannot be read is left out, and its neighbours are kept.

A page that is sound costs one decoding. Which lists hold records, and not parts of one, the platform declares (`record_lists`).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from beat_actors.errors import Malformed, Missing, Private
from beat_actors.payloads.structure import structure
from beat_actors.platforms.interface import Parsed
from beat_actors.platforms.reading import BYTE_ORDER_MARK

HOLES = 250
"""Records that are left out of one page at most: it is decoded anew for each."""
STEP = re.compile(r"\.([^.\[\]]+)|\[([0-9]{1,9})\]")


@dataclass(frozen=True, slots=True)
class Hole:
    """A record that cannot be read: `path` is where it is wrong, in the payload as it came. `shape`: the structure of the record."""

    path: str
    error: str
    shape: str = ""


Step = str | int


def read(
    parse: Callable[[bytes], Parsed], body: bytes, record_lists: frozenset[str]
) -> tuple[Parsed, tuple[Hole, ...]]:
    """What `parse` reads of a body, without the records that it cannot read. Raises the first error where no record is left."""
    body = body.removeprefix(BYTE_ORDER_MARK)
    try:
        return parse(body), ()
    except Malformed as error:
        first = last = error
    holes: list[Hole] = []
    try:
        page = msgspec.json.decode(body)
        removed: dict[tuple[Step, ...], list[int]] = {}
        while len(holes) < HOLES:
            where = _record(last.path, record_lists)
            if where is None:
                break
            path = _as_it_came(last.path, where, removed)
            holes.append(Hole(path, str(last), structure(_remove(page, where, removed))))
            try:
                parsed = parse(msgspec.json.encode(page))
            except Malformed as again:
                last = again
                continue
            if parsed.records or parsed.listed:
                return _with_holes(parsed, holes), tuple(holes)
            break
    except (Missing, Private, msgspec.DecodeError, UnicodeError, RecursionError, LookupError, TypeError):
        pass  # what is left says nothing of what was asked for
    raise first


def _record(path: str, record_lists: frozenset[str]) -> tuple[Step, ...] | None:
    """The steps to the record in which `path` lies: the innermost item of a list of records."""
    steps: list[Step] = []
    found = None
    for name, index in STEP.findall(path.removeprefix("$")):
        if not name:
            named = steps[-1] if steps and isinstance(steps[-1], str) else ""
            if named in record_lists:
                found = (*steps, int(index))
        steps.append(name or int(index))
    return found


def _remove(page: Any, where: tuple[Step, ...], removed: dict[tuple[Step, ...], list[int]]) -> object:
    """Take the record out of the page; the record."""
    *way, last = where
    for step in way:
        page = page[step]
    record: object = page.pop(last)
    assert isinstance(last, int)
    removed.setdefault(tuple(way), []).append(_index(last, removed.get(tuple(way), [])))
    return record


def _as_it_came(path: str, where: tuple[Step, ...], removed: dict[tuple[Step, ...], list[int]]) -> str:
    """The path with the record's place in the payload, of which others were left out before."""
    *way, last = where
    assert isinstance(last, int)
    spelt = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)
    came = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in way)
    return f"${came}[{_index(last, removed.get(tuple(way), []))}]{path.removeprefix('$' + spelt)}"


def _index(index: int, removed: list[int]) -> int:
    """Where an item stood before those that stood at `removed` were left out."""
    for gone in sorted(removed):
        index += gone <= index
    return index


def _with_holes(parsed: Parsed, holes: list[Hole]) -> Parsed:
    many = "1 record" if len(holes) == 1 else f"{len(holes)} records"
    partial = {"code": "holes", "message": f"{many} of a page cannot be read", "path": holes[0].path}
    return replace(parsed, partial=partial)
