"""One page of a table: the rows of some blocks that may name a person, and what becomes of each.

Pages go by the places of rows on disk, so they need no index and cost the same in every table. A row that another transaction holds is passed over, and one that
moves may be missed: the next round finds it. A job ends with a round that finds nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from beat_actors.assets.upkeep.deleting import condemn
from beat_actors.database import Composed, Statement, Statements, Transaction, jsonb
from beat_actors.pipeline.records import unpack
from beat_actors.privacy.matching import ERASED, Json, Matcher
from beat_actors.privacy.places import How
from beat_actors.privacy.rules import TOLD, UNIQUE, Rule
from beat_actors.privacy.subjects import is_name
from beat_actors.requests import erasing
from beat_actors.requests.states import ENDED

BLOCKS = 64
"""Blocks of a page: half a megabyte, without what PostgreSQL stores beside the table."""
TERMINAL = ("DONE", "FAILED", "CANCELLED")
SQL = Statements(__file__)
FOUND, RESOLVE = SQL("found"), SQL("resolve")
AUDITED, MINE = SQL("audited", int), SQL("mine", str)

Row: TypeAlias = Mapping[str, Any]


class Leaf(NamedTuple):
    """A table that has rows itself. `name`: as SQL writes it."""

    name: str
    blocks: int


class Column(NamedTuple):
    name: str
    type: str


TYPES = SQL("types", Column)


@dataclass(slots=True)
class Seen:
    """What a page came to. `busy`: rows that something still works on. `cancel`: requests that are to end first."""

    deleted: int = 0
    redacted: int = 0
    busy: int = 0
    cancel: list[int] = field(default_factory=list)

    @property
    def found(self) -> int:
        return self.deleted + self.redacted


@dataclass(slots=True)
class Page:
    """The decisions about the rows of a page. `mine`: which keys that its rows name are of things of the person."""

    rule: Rule
    matcher: Matcher
    mine: frozenset[str]
    seen: Seen = field(default_factory=Seen)
    gone: list[Row] = field(default_factory=list)
    changed: list[tuple[Row, dict[str, Json]]] = field(default_factory=list)
    things: set[str] = field(default_factory=set)

    def decide(self, row: Row) -> None:
        rule = self.rule
        his = is_his(rule.subject, row, self.matcher)
        if rule.entity is not None and (his or row["thing"]):
            if rule.entity.key not in rule.subject:
                self.things |= {str(row[name]) for name in rule.beside if row[name]}
            self._delete(row)
        elif rule.table in TOLD and (his or row["thing"] or self._tells_of_his(row[TOLD[rule.table]])):
            self.things |= {row["post_id"]} if rule.table == "post_log" else set()
            self._delete(row)
        elif rule.table == "scrape_fetch":
            self._fetch(row)
        elif rule.table == "asset_log":
            if row["thing"] or self._redacted(row):
                self._delete(row)
        elif rule.how is How.DELETED and rule.entity is None and his:
            self._delete(row)
        elif changed := self._redacted(row):
            if rule.table == "scrape_request_log" and row["status"] not in ENDED:
                self.seen.cancel.append(row["id"])
            elif rule.table == "scrape_request_log" and row["live"]:
                self.seen.busy += 1
            else:
                self.seen.redacted += 1
                self.changed.append((row, changed))

    def _fetch(self, row: Row) -> None:
        packed = row["records"]
        if not (row["thing"] or self._redacted(row) or (packed is not None and self._holds(bytes(packed)))):
            return
        if row["stage"] in TERMINAL:
            self._delete(row)
        else:
            self.seen.busy += 1

    def _delete(self, row: Row) -> None:
        self.seen.deleted += 1
        self.gone.append(row)

    def _tells_of_his(self, told: object) -> bool:
        return isinstance(told, dict) and is_his([n for n in told if n in self.rule.names], told, self.matcher)

    def _holds(self, packed: bytes) -> bool:
        try:
            return self.matcher.in_payload(unpack(packed))
        except ValueError:
            return False

    def _redacted(self, row: Row) -> dict[str, Json]:
        """The columns that name the person or his things, without that."""
        found: dict[str, Json] = {}
        for name in texts_of(self.rule):
            new = self._without(row[name], name)
            if new != row[name]:
                found[name] = f"{new}#{row['id']}" if UNIQUE.get(self.rule.table) == name else new
        return found

    def _without(self, value: Json, name: str = "") -> Json:
        if isinstance(value, str):
            if name in self.rule.names and value not in self.mine:
                # What only resembles a name here is somebody else's.
                return ERASED if self.matcher.is_id(value) or self.matcher.is_name(value) else value
            return ERASED if value in self.mine else self.matcher.redacted(value)
        if isinstance(value, list):
            rest = [item for item in value if not (name == "keys" and self._is_named(item))]
            return [self._without(item) for item in rest]
        if isinstance(value, dict):
            return {str(self.matcher.redacted(key)): self._without(item, key) for key, item in value.items()}
        return value

    def _is_named(self, key: Json) -> bool:
        return isinstance(key, str) and (key in self.mine or self.matcher.in_text(key))


def texts_of(rule: Rule) -> tuple[str, ...]:
    """The columns of a rule that hold text and not packed bytes."""
    return tuple(name for name in rule.columns if name != "records")


def is_his(columns: Sequence[str], row: Row, matcher: Matcher) -> bool:
    """Whether a row is of the person: one of its ids says so, or a name, where it has no id. A name may belong to somebody else today."""
    ids = [row[name] for name in columns if not is_name(name) and row.get(name)]
    if ids:
        return any(matcher.is_id(value) for value in ids)
    return any(matcher.is_name(row[name]) for name in columns if is_name(name) and row.get(name))


@lru_cache(maxsize=256)
def reading(rule: Rule, leaf: str, *, locks: bool) -> Statement[Row]:
    """The rows of some blocks that may name the person. Parameters: first, last (text: places), pattern, platform, erasure."""
    names = dict.fromkeys((*rule.columns, *rule.subject, *rule.beside))
    looked = dict.fromkeys((*texts_of(rule), *rule.subject))
    text = ", ".join(f"t.{name}::text" for name in looked) or "''"
    packed = " OR t.records IS NOT NULL" if "records" in rule.columns else ""
    # The process may not change the audit log, nor lock its rows.
    lock = " FOR NO KEY UPDATE SKIP LOCKED" if locks and rule.table != "audit_log" else ""
    made = ("place", "thing", *names)
    sql = (
        f"SELECT t.ctid::text AS place, coalesce({rule.things}, false) AS thing, {', '.join(f't.{name}' for name in names)} FROM {leaf} t "  # noqa: S608 - declared
        f"WHERE t.ctid >= %(first)s::tid AND t.ctid < %(last)s::tid AND {rule.platform} "
        f"AND (concat_ws(E'\\n', {text}) ~* %(pattern)s OR {rule.things}{packed}){lock}"
    )
    return Composed(
        f"privacy/pages.reading.{rule.table}",
        sql,
        dict,
        columns=made,
        make=lambda values: dict(zip(made, values, strict=True)),
    )


@lru_cache(maxsize=256)
def deleting(leaf: str) -> Statement[None]:
    """Parameters: places (text[])."""
    return Composed("privacy/pages.deleting", f"DELETE FROM {leaf} WHERE ctid = ANY(%(places)s::tid[])")  # noqa: S608 - of the catalogue


@lru_cache(maxsize=256)
def writing(leaf: str, columns: tuple[Column, ...]) -> Statement[None]:
    """Parameters: rows (jsonb: objects with `place` and the columns), places (text[])."""
    sets = ", ".join(f"{one.name} = v.{one.name}" for one in columns)
    types = ", ".join(f"{one.name} {one.type}" for one in columns)
    sql = (
        f"UPDATE {leaf} t SET {sets} FROM jsonb_to_recordset(%(rows)s::jsonb) AS v(place text, {types}) "  # noqa: S608 - of the catalogue
        f"WHERE t.ctid = ANY(%(places)s::tid[]) AND t.ctid = v.place::tid"
    )
    return Composed("privacy/pages.writing", sql)


async def look_through(
    transaction: Transaction,
    rule: Rule,
    leaf: str,
    block: int,
    matcher: Matcher,
    *,
    platform: str,
    erasure: int,
    dry_run: bool,
) -> Seen:
    """Look through `BLOCKS` blocks of a table, and erase unless `dry_run`."""
    span = {"first": f"({block},0)", "last": f"({block + BLOCKS},0)", "pattern": matcher.sql}
    asked = {**span, "platform": platform, "erasure": erasure}
    rows = await transaction.rows(reading(rule, leaf, locks=False), asked)
    if not rows:
        return Seen()
    there, mine = rows, await _mine(transaction, rule, rows, erasure)
    if not dry_run:
        rows = await transaction.rows(reading(rule, leaf, locks=True), asked)
    page, held = Page(rule, matcher, mine), Page(rule, matcher, mine)
    locked = {row["place"] for row in rows}
    for row in there:
        if row["place"] not in locked:
            held.decide(row)
    # What somebody holds now is looked at in the next round, if it names the person.
    page.seen.busy += held.seen.found + held.seen.busy + len(held.seen.cancel)
    for row in rows:
        page.decide(row)
    if page.things:
        await transaction.run(FOUND, {"id": erasure, "keys": sorted(page.things)})
    if not dry_run:
        await _erase(transaction, page, leaf, erasure)
    return page.seen


async def _mine(transaction: Transaction, rule: Rule, rows: Sequence[Row], erasure: int) -> frozenset[str]:
    """Which of the keys that rows name are of things of the person."""
    keys: set[str] = set()
    for row in rows if rule.table in ("change_log", "event", "scrape_request_log") else ():
        if row["thing"]:
            keys |= {key for key in _keys(row) if isinstance(key, str)}
    if not keys:
        return frozenset()
    return frozenset(await transaction.rows(MINE, {"id": erasure, "keys": sorted(keys)}))


def _keys(row: Row) -> list[object]:
    if "params" in row:
        return list(row["params"].values())
    return row["keys"] if "keys" in row else [*(row["data"].get("keys") or []), row["data"].get("key")]


async def _erase(transaction: Transaction, page: Page, leaf: str, erasure: int) -> None:
    rule = page.rule
    if page.gone:
        await transaction.run(deleting(leaf), {"places": [row["place"] for row in page.gone]})
        contents = {bytes(row["content"]) for row in page.gone if row.get("content") is not None}
        if contents:
            await condemn(transaction, sorted(contents))
    if not page.changed:
        return
    ids = [row["id"] for row, _ in page.changed if "id" in row]
    if rule.table == "audit_log":
        await transaction.rows(AUDITED, {"id": erasure, "entries": ids})
        return
    if rule.table == "scrape_request_log":
        await erasing.before(transaction, ids)
    texts = set(texts_of(rule))
    types = tuple(one for one in await transaction.rows(TYPES, {"table": leaf}) if one.name in texts)
    rows = [
        {"place": row["place"], **{name: changed.get(name, row[name]) for name in texts}}
        for row, changed in page.changed
    ]
    places = [row["place"] for row, _ in page.changed]
    await transaction.run(writing(leaf, types), {"rows": jsonb(rows), "places": places})
    if rule.table == "scrape_request_log":
        await erasing.after(transaction, ids)
    if rule.table == "quarantine":
        await transaction.run(RESOLVE, {"ids": ids})
