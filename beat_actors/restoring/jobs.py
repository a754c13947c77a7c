"""Restores as operators see them: planned, applied, cancelled, undone. The work itself is done by `worker`, in whatever process.

A restore that is only planned writes no entity. The id of a restore and its token together undo it.
"""

import secrets
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec

from beat_actors import audit
from beat_actors.database import Statements, Transaction, jsonb
from beat_actors.errors import BadInput, Conflict, NotFound
from beat_actors.moments import moment
from beat_actors.restoring.selection import Selection, settled, targets
from beat_actors.shapes import one_of
from beat_actors.text import check_text

STATES = ("COLLECTING", "PLANNING", "PLANNED", "APPLYING", "DONE", "UNDOING", "UNDONE", "CANCELLED")
RUNNING = frozenset({"COLLECTING", "PLANNING", "APPLYING", "UNDOING"})
MOST_OPEN = 10
EXAMPLES = 3
MOST_LISTED = 1000


class NewRestore(Selection, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A selection of wrong observations. `apply`: set the entities right at once; if not, it is only planned, and says what it would change.
    `rescrape`: ask for each entity that it changed again, with the lowest priority."""

    reason: str
    apply: bool = False
    rescrape: bool = False


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    """How many entities of a kind have another value of a field."""

    platform: str
    kind: str
    field: str
    entities: int


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """An entity that changes. `before` and `after`: the fields that differ; `after` is null where the entity is removed. `kept`: the fields that an
    undo left, because they were observed since."""

    entity: str
    key: str
    account_id: str
    owner: str
    fields: list[str]
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    kept: list[str] | None


class RestoreItem(msgspec.Struct, frozen=True, kw_only=True):
    """An entity of a restore. `state`: NEW, PLANNED, DONE or UNDONE."""

    entity: str
    key: str
    account_id: str
    owner: str
    state: str
    fields: list[str] | None
    kept: list[str] | None


class RestoreView(msgspec.Struct, frozen=True, kw_only=True):
    """A restore.

    `entities`: those of which an observation is selected. `done`: those that were looked at so far. `changed`: those that are, or would be, set right;
    `removed` of them have no other observation. `undone`: entities that were put back; `kept`: those of them that kept a field which was observed
    since. `token`: undoes it; null until something was applied.
    """

    id: int
    state: Annotated[str, one_of(STATES)]
    selection: Selection
    reason: str
    actor: str
    rescrape: bool
    entities: int
    done: int
    changed: int
    removed: int
    undone: int
    kept: int
    fields: list[FieldChange]
    examples: list[Example]
    token: str | None
    created_at: datetime
    ended_at: datetime | None


class JobRow(NamedTuple):
    """A row of `restore_job`."""

    id: int
    token: str
    selection: dict[str, Any]
    state: str
    applies: bool
    rescrape: bool
    actor: str
    reason: str
    since: datetime
    until: datetime
    walk: int
    position: datetime | None
    passes: int
    summary: dict[str, Any]
    created_at: datetime
    ended_at: datetime | None


SQL = Statements(__file__)
ADD, GET, HOLD = SQL("add", JobRow), SQL("get", JobRow), SQL("hold", JobRow)
LIST, MOVE = SQL("list", JobRow), SQL("move", JobRow)
OPEN, FORGET = SQL("open", int), SQL("forget", int)
EXAMPLES_OF, ITEMS = SQL("examples", Example), SQL("items", RestoreItem)
FIRST = ("", "", "", "")


async def create(transaction: Transaction, new: NewRestore, *, actor: str) -> RestoreView:
    """Raises `BadInput`, `NotFound`, `UnknownName`, `Conflict`."""
    check_text(new.reason, "reason", longest=1000)
    given = msgspec.structs.asdict(new)
    wanted = Selection(**{name: given[name] for name in Selection.__struct_fields__})
    selection = await settled(transaction, wanted)
    if not targets(selection):
        raise BadInput("entities of this kind have no log from which they could be restored", field="kind")
    if await transaction.only(OPEN) >= MOST_OPEN:
        raise Conflict(f"{MOST_OPEN} restores go on; wait until one has ended, or cancel one")
    row = await transaction.only(
        ADD,
        {
            "token": secrets.token_hex(4),
            "selection": jsonb(_without_none(selection)),
            "applies": new.apply,
            "rescrape": new.rescrape,
            "actor": actor,
            "reason": new.reason,
            "since": selection.since,
            "until": selection.until,
        },
    )
    detail = {"apply": new.apply, "rescrape": new.rescrape, "reason": new.reason, "selection": _without_none(selection)}
    await _record(transaction, actor, "restore.apply" if new.apply else "restore.plan", row.id, detail)
    return view_of(row, [])


async def restore(transaction: Transaction, restore_id: int) -> RestoreView:
    """Raises `NotFound`."""
    row = await transaction.row(GET, {"id": restore_id})
    if row is None:
        raise NotFound(f"there is no restore {restore_id}")
    return view_of(row, await transaction.rows(EXAMPLES_OF, {"id": restore_id, "limit": EXAMPLES}))


async def restores(transaction: Transaction, *, limit: int = 50) -> list[RestoreView]:
    """The newest first, without examples; at most `MOST_LISTED`."""
    return [view_of(row, []) for row in await transaction.rows(LIST, {"limit": min(limit, MOST_LISTED)})]


async def items(
    transaction: Transaction, restore_id: int, *, after: tuple[str, str, str, str] = FIRST, limit: int = 1000
) -> list[RestoreItem]:
    """A page of the entities of a restore, in the order of table, key, account and owner."""
    entity, key, account, owner = after
    values = {"id": restore_id, "entity": entity, "key": key, "account": account, "owner": owner, "limit": limit}
    return await transaction.rows(ITEMS, values)


async def apply(transaction: Transaction, restore_id: int, *, actor: str, reason: str) -> RestoreView:
    """Apply what was planned. Raises `NotFound`, `Conflict`."""
    return await _move(transaction, restore_id, {"PLANNED"}, "APPLYING", "restore.apply", actor, reason, applies=True)


async def cancel(transaction: Transaction, restore_id: int, *, actor: str, reason: str) -> RestoreView:
    """Stop. What was set right stays, and can be undone. Raises `NotFound`, `Conflict`."""
    allowed = {"COLLECTING", "PLANNING", "PLANNED", "APPLYING"}
    return await _move(transaction, restore_id, allowed, "CANCELLED", "restore.cancel", actor, reason, ended=True)


async def undo(transaction: Transaction, token: str, *, actor: str, reason: str) -> RestoreView:
    """Put back what a restore changed. Raises `BadInput`, `NotFound`, `Conflict`."""
    number, _, secret = token.partition("-")
    if not number.isdecimal() or not secret or len(number) > 18:
        raise BadInput("an undo token has the form 17-3f9a2c51", field="token")
    row = await transaction.row(HOLD, {"id": int(number)})
    if row is None or not secrets.compare_digest(row.token.encode(), secret.encode()):
        raise NotFound(f"no restore has the undo token {token}")
    if not row.summary.get("applied"):
        raise Conflict(f"restore {row.id} has changed nothing")
    allowed = {"DONE", "CANCELLED", "APPLYING", "COLLECTING"}
    return await _move(transaction, row.id, allowed, "UNDOING", "restore.undo", actor, reason, applies=row.applies)


async def forget(transaction: Transaction, days: int, epoch: int | None = None) -> int:
    """Delete some of the restores that ended so many days ago; how many rows went."""
    return await transaction.value(FORGET, {"days": days, "epoch": epoch}) or 0


async def _move(
    transaction: Transaction,
    restore_id: int,
    allowed: set[str],
    state: str,
    action: str,
    actor: str,
    reason: str,
    *,
    applies: bool = False,
    ended: bool = False,
) -> RestoreView:
    check_text(reason, "reason", longest=1000)
    row = await transaction.row(HOLD, {"id": restore_id})
    if row is None:
        raise NotFound(f"there is no restore {restore_id}")
    if row.state not in allowed:
        raise Conflict(f"restore {restore_id} is {row.state}; this needs {' or '.join(sorted(allowed))}")
    moved = await transaction.only(MOVE, {"id": restore_id, "state": state, "applies": applies, "ended": ended})
    await _record(transaction, actor, action, restore_id, {"reason": reason, "was": row.state})
    return view_of(moved, await transaction.rows(EXAMPLES_OF, {"id": restore_id, "limit": EXAMPLES}))


async def _record(transaction: Transaction, actor: str, action: str, restore_id: int, detail: dict[str, Any]) -> None:
    await audit.record(transaction, actor=actor, action=action, target=f"restore/{restore_id}", detail=detail)


def view_of(row: JobRow, examples: list[Example]) -> RestoreView:
    summary = row.summary
    fields = [
        FieldChange(platform=platform, kind=kind, field=name, entities=count)
        for called, count in sorted(summary.get("fields", {}).items(), key=lambda one: (-one[1], one[0]))
        for platform, kind, name in [called.split(" ", 2)]
    ]
    return RestoreView(
        id=row.id,
        state=row.state,
        selection=msgspec.convert(row.selection, Selection),
        reason=row.reason,
        actor=row.actor,
        rescrape=row.rescrape,
        **{name: summary.get(name, 0) for name in ("entities", "done", "changed", "removed", "undone", "kept")},
        fields=fields,
        examples=[_only_differences(one) for one in examples],
        token=f"{row.id}-{row.token}" if summary.get("applied") else None,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )


def said(selection: Selection) -> str:
    """A selection in words."""
    parts = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in _without_none(selection).items()
        if name not in ("since", "until")
    ]
    times = [
        f"{name} {moment(value)}" for name in ("since", "until") if (value := getattr(selection, name)) is not None
    ]
    return " ".join((*times, *parts))


def _only_differences(one: Example) -> Example:
    def only(row: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if row is None else {name: row.get(name) for name in one.fields}

    return msgspec.structs.replace(one, before=only(one.before), after=only(one.after))


def _without_none(selection: Selection) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(selection).items() if value is not None}
