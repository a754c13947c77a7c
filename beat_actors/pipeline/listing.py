"""How a listing goes on from page to page: one rule for all platforms. Pure.

A flow says whether more is wanted and where the next page is; the rule here says whether that page may be asked for. What is remembered
of a listing goes along from fetch to fetch (`scrape_fetch.listing`) and is bounded, however long the listing is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import msgspec

from beat_actors.platforms.interface import FetchSpec, Parsed, Platform, Record

EMPTY_PAGES = 5
"""Pages in a row without anything new that are followed where they name a next one."""
PAGES = 10_000
RECENT = 64
"""Cursors that are remembered; beside them one at each power of two, so that a circle of any length is noticed."""
KEYS = 1_000


class Listing(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is remembered of a listing before a page is read.

    `recent` and `marks`: hashes of cursors that were followed; `last`: hashes of what the last page held; `empty`: pages in a row without
    anything new; `restarts`: how often the listing was restarted; `partial`: why and where something of it was not read.
    """

    recent: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    empty: int = 0
    restarts: int = 0
    partial: dict[str, Any] | None = None

    def read(self, parsed: Parsed, platform: Platform) -> tuple["Listing", Parsed]:
        """After a page: what is remembered from now on, and what of the page the page before did not hold."""
        keys = [_hash(_key(record, platform)) for record in parsed.records]
        ids = [_hash(each) for each in parsed.listed]
        known = set(self.last)
        fresh = replace(
            parsed,
            records=[record for record, key in zip(parsed.records, keys, strict=True) if key not in known],
            listed=[each for each, key in zip(parsed.listed, ids, strict=True) if key not in known],
        )
        is_new = bool(fresh.records or fresh.listed)
        held = tuple((keys + ids)[:KEYS]) or self.last
        partial = self.partial or parsed.partial
        return replace_(self, last=held, empty=0 if is_new else self.empty + 1, partial=partial), fresh

    def bounded(self, spec: FetchSpec, follow_ups: Sequence[FetchSpec]) -> tuple["Listing", list[FetchSpec]]:
        """The follow-ups that may be asked for, each next page with what is remembered. Where one may not, `partial` says why."""
        listing, wanted = self, []
        for each in follow_ups:
            if each.cursor is None:
                wanted.append(each)
                continue
            why = self._end(spec, each)
            if why is None:
                wanted.append(replace(each, listing=msgspec.to_builtins(self._followed(each))))
            else:
                where = {"operation": spec.operation, "source": spec.source, "page": spec.page}
                listing = replace_(listing, partial={"code": why[0], "message": why[1], **where})
        return listing, wanted

    def _end(self, spec: FetchSpec, following: FetchSpec) -> tuple[str, str] | None:
        """Why a next page is not asked for; `None` where it is."""
        mark = _hash(following.cursor or "")
        if following.cursor == spec.cursor or mark in self.recent or mark in self.marks:
            return "cycle", "the source's next page was read before; the pages after it are unknown"
        if self.empty >= EMPTY_PAGES:
            return "empty", f"{self.empty} pages in a row brought nothing new, and the source names another one"
        if following.page > PAGES:
            return "pages", f"a listing is read for {PAGES:,} pages at most, and the source names another one"
        return None

    def _followed(self, following: FetchSpec) -> "Listing":
        mark, page = _hash(following.cursor or ""), following.page
        marks = (*self.marks, mark) if page & (page - 1) == 0 else self.marks
        return replace_(self, recent=(*self.recent, mark)[-RECENT:], marks=marks)


def listing_of(kept: Mapping[str, object] | None) -> Listing:
    """What is remembered, from `scrape_fetch.listing`."""
    return Listing() if kept is None else msgspec.convert(kept, Listing)


def holding_the_mark(follow_ups: Iterable[FetchSpec], mark: str) -> list[FetchSpec]:
    """The follow-ups without those that move a synchronisation mark: something before it was not read."""
    return [each for each in follow_ups if mark not in each.params]


def _key(record: Record, platform: Platform) -> str:
    entity = platform.entity_of(record)
    return f"{entity.table}:{getattr(record, entity.key)}"


def _hash(value: str) -> str:
    return blake2b(value.encode("utf-8", "replace"), digest_size=6).hexdigest()


replace_ = msgspec.structs.replace
