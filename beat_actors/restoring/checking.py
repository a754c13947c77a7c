"""Compares entities with the fold of their logs: the check of operators, and the same as a sweep that walks all tables once a day.

A field differs where the log tells another value than the row has. A field of which no kept row of the log tells anything is counted and is no
difference: it was observed before the log begins. What looks different is compared again under the lock of the row.
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import msgspec

from beat_actors import audit
from beat_actors.alerts import Alert
from beat_actors.database import Composed, Database, Statement, Statements, Transaction, arrays, jsonb
from beat_actors.requests.swept import Swept
from beat_actors.restoring import statements
from beat_actors.restoring.change import known_in, logged_names
from beat_actors.restoring.fold import NULL, Folded
from beat_actors.restoring.reading import Key, folds, names_in, observations
from beat_actors.restoring.selection import Target, targets

PAGE = 500
BUDGET = 10.0
"""Seconds of one run of the sweep."""
EXAMPLES = 20
MOST_FIXED = 10_000
"""Entities that one check sets right. A further check goes on."""
RULE = "consistency"


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """A field of an entity that is not what its log tells. `now`: in the row; `logged`: in the log."""

    platform: str
    kind: str
    key: str
    account_id: str
    field: str
    now: object
    logged: object


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found. `entities`: those that were compared; `drifted` of them differ, in `fields` fields. `unlogged`: fields with a value of which
    the log tells nothing. `restore`: the restore that sets them right, and `token`, which undoes it."""

    entities: int
    drifted: int
    fields: int
    unlogged: int
    examples: list[Drift]
    restore: int | None = None
    token: str | None = None


class RowOf(NamedTuple):
    """The row of an entity as JSON text."""

    key: str
    account_id: str
    owner: str
    row: str


class Round(NamedTuple):
    """A walk over a table: the entity that it has reached."""

    entity: str
    key: str
    account_id: str
    owner: str
    goes_on: bool


class Found(NamedTuple):
    """A row of `entity_check`."""

    entity: str
    started_at: datetime
    ended_at: datetime | None
    checked: int
    drifted: int
    examples: list[dict[str, Any]]
    last: dict[str, Any] | None


class PageFound(NamedTuple):
    """A page of a walk. `last`: its last entity; None behind the end of the table."""

    last: Key | None
    entities: int
    unlogged: int
    drifts: list[Drift]
    keys: list[Key]


SQL = Statements(__file__)
PATIENT = SQL("patient")
DUE, BEGIN, ADVANCE = SQL("due", Round), SQL("begin"), SQL("advance")
FOUND = SQL("found", Found)
ADD, ADD_ITEMS = SQL("add", int), SQL("add_items")
NOW: Statement[datetime] = Composed("restoring/checking.now", "SELECT clock_timestamp() AS now", datetime)
START = Key("", "", "")
_DECODER = msgspec.json.Decoder(dict[str, msgspec.Raw])
Rows = Mapping[Key, Mapping[str, msgspec.Raw]]


async def check(
    database: Database,
    wanted: Callable[[Target], bool],
    *,
    fix: bool = False,
    actor: str = "",
    reason: str = "",
) -> Checked:
    """Compare all entities of the kinds that are wanted. `fix`: make a restore that sets those right that differ; somebody has to do its work."""
    entities = drifted = fields = unlogged = 0
    examples: list[Drift] = []
    wrong: list[tuple[str, ...]] = []
    for target in filter(wanted, targets()):
        after: Key | None = START
        while after is not None and len(wrong) < MOST_FIXED:
            page = await check_page(database, target, after)
            after = page.last
            entities, unlogged = entities + page.entities, unlogged + page.unlogged
            drifted, fields = drifted + len(page.keys), fields + len(page.drifts)
            examples += page.drifts[: EXAMPLES - len(examples)]
            if fix:
                wrong += [(target.entity.table, *key) for key in page.keys]
    found = Checked(entities=entities, drifted=drifted, fields=fields, unlogged=unlogged, examples=examples)
    if not wrong:
        return found
    async with database.transaction() as transaction:
        token = secrets.token_hex(4)
        values = {"token": token, "actor": actor, "reason": reason, "entities": len(wrong)}
        job = await transaction.only(ADD, values)
        await transaction.run(ADD_ITEMS, {**arrays(wrong, "entities", "keys", "accounts", "owners"), "job": job})
        detail = {"reason": reason, "entities": len(wrong)}
        await audit.record(transaction, actor=actor, action="restore.fix", target=f"restore/{job}", detail=detail)
    return msgspec.structs.replace(found, restore=job, token=f"{job}-{token}")


async def check_page(database: Database, target: Target, after: Key, *, limit: int = PAGE) -> PageFound:
    """Compare the next entities of a table."""
    async with database.transaction() as transaction:
        await transaction.run(PATIENT)
        place = {"key": after.key, "account": after.account_id, "owner": after.owner, "limit": limit}
        found = await transaction.rows(_page(target), place)
        rows = {Key(*row[:3]): _DECODER.decode(row.row) for row in found}
        suspects, unlogged = await _compare(transaction, target, rows)
        drifts: list[Drift] = []
        if suspects:
            # What was written between the two reads differs too: the lock shows which.
            keys = sorted(suspects)
            held = await statements.by_keys(transaction, statements.hold(target), names_in(keys))
            locked = {keys[one.nth - 1]: _DECODER.decode(one.row) for one in held if one.row is not None}
            suspects, _ = await _compare(transaction, target, locked)
            drifts = [drift for key in sorted(suspects) for drift in suspects[key]]
    last = Key(*found[-1][:3]) if len(found) == limit else None
    return PageFound(last, len(found), unlogged, drifts, sorted(suspects))


async def _compare(transaction: Transaction, target: Target, rows: Rows) -> tuple[dict[Key, list[Drift]], int]:
    """The fields that differ, by entity, and the number of fields of which the log tells nothing."""
    known = known_in(target.entity, rows)
    begins = await transaction.only(NOW)
    folded = await folds(transaction, target, known, begins=begins)
    found: dict[Key, list[Drift]] = {}
    unlogged = 0
    for key, row in rows.items():
        of = folded[key]
        unlogged += len(of.lacks(known[key]))
        different = [
            name
            for name in sorted(logged_names(target.entity) & of.fields.keys())
            if bytes(row.get(name, NULL)) != of.fields[name].value
        ]
        if different and (left := await _not_tied(transaction, target, key, row, of, different)):
            found[key] = [_drift(target, key, name, row, of) for name in left]
    return found, unlogged


async def _not_tied(
    transaction: Transaction,
    target: Target,
    key: Key,
    row: Mapping[str, msgspec.Raw],
    folded: Folded,
    names: Sequence[str],
) -> list[str]:
    """Those of these fields that no observation of the same answer tells as the row has them: an answer may tell an entity in two ways."""
    left = []
    for name in names:
        at = folded.fields[name].at
        same = await observations(transaction, target, [key], begins=at, ends=at + timedelta(microseconds=1))
        if not any(one.told.get(name) == bytes(row.get(name, NULL)) for one in same.get(key, []) if not one.bad):
            left.append(name)
    return left


def _drift(target: Target, key: Key, name: str, row: Mapping[str, msgspec.Raw], folded: Folded) -> Drift:
    return Drift(
        platform=target.platform,
        kind=target.entity.kind,
        key=key.key,
        account_id=key.account_id,
        field=name,
        now=msgspec.json.decode(bytes(row.get(name, NULL))),
        logged=msgspec.json.decode(folded.fields[name].value),
    )


async def sweep(database: Database, epoch: int | None = None, *, seconds: float = BUDGET) -> Swept:
    """Go on with the rounds that are due, for some seconds. The place that a round has reached is kept."""
    by_table = {target.entity.table: target for target in targets()}
    async with database.statements() as alone:
        due = await alone.rows(DUE, {"tables": list(by_table)})
    ends, checked = time.monotonic() + seconds, 0
    for one in due:
        after: Key | None = Key(one.key, one.account_id, one.owner)
        if not one.goes_on:
            after = START
            async with database.statements() as alone:
                await alone.run(BEGIN, {"entity": one.entity, "epoch": epoch})
        while after is not None:
            if time.monotonic() >= ends:
                return Swept(count=checked)
            page = await check_page(database, by_table[one.entity], after)
            await _advance(database, one.entity, page, page.last or after, epoch)
            checked += page.entities
            after = page.last
    return Swept(count=checked)


async def _advance(database: Database, table: str, page: PageFound, reached: Key, epoch: int | None) -> None:
    values = {
        "entity": table,
        "key": reached.key,
        "account": reached.account_id,
        "owner": reached.owner,
        "checked": page.entities,
        "drifted": len(page.keys),
        "examples": jsonb(msgspec.to_builtins(page.drifts[:5])),
        "ended": page.last is None,
        "epoch": epoch,
    }
    async with database.statements() as alone:
        await alone.run(ADVANCE, values)


async def drifted(database: Database) -> list[Alert]:
    """One alert for each table of which a round found entities that differ from their log."""
    async with database.statements() as alone:
        found = await alone.rows(FOUND)
    return [_alert(one) for one in found if one.drifted or (one.ended_at is None and (one.last or {}).get("drifted"))]


def _alert(one: Found) -> Alert:
    latest: dict[str, Any] = (
        {"checked": one.checked, "drifted": one.drifted, "examples": one.examples} if one.drifted else one.last or {}
    )
    examples = ", ".join(f"{each['key']}.{each['field']}" for each in latest["examples"][:3])
    return Alert(
        key=f"{RULE}:{one.entity}",
        severity="warning",
        cause=f"{latest['drifted']:,} of {latest['checked']:,} compared rows of {one.entity} are not what their log tells: {examples}",
        impact="readers get values that no provider has told",
        automatic="nothing: a row that was changed by hand may be meant so",
        action=f"look at them: `beat check --table {one.entity}`; set them right: `beat check --table {one.entity} --fix --reason …`",
    )


@cache
def _page(target: Target) -> Statement[RowOf]:
    entity = target.entity
    text = f"""
SELECT t.{entity.key} AS key, t.account_id, t.owner, to_jsonb(t)::text AS row FROM "{entity.table}" t
WHERE (t.{entity.key}, t.account_id, t.owner) > (%(key)s, %(account)s, %(owner)s)
ORDER BY t.{entity.key}, t.account_id, t.owner LIMIT %(limit)s"""  # noqa: S608 - declared
    return Composed("restoring/checking.page", text, RowOf)
