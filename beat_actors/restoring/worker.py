"""Does the work of restores: step by step, each one transaction. What a step has done is in the rows of the job, so a process that dies costs a step.

A step first locks the job's row. Another process that works on the same job waits for it or passes it by.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from beat_actors.database import Database, Statements, Transaction, arrays, jsonb
from beat_actors.errors import StorageBrokenOff, StorageTooSlow
from beat_actors.failpoints import hit
from beat_actors.logger import get_logger
from beat_actors.requests import reuse
from beat_actors.requests.swept import Swept
from beat_actors.restoring import statements, undoing
from beat_actors.restoring.again import scrape_again
from beat_actors.restoring.change import Change, change_of, known_in
from beat_actors.restoring.fold import Folded
from beat_actors.restoring.reading import Choice, Key, folds, names_in
from beat_actors.restoring.selection import Selection, Target, conditions, keys_of, target_of, targets
from beat_actors.restoring.statements import COLUMNS, Written

log = get_logger(__name__)

CHUNK = 500
WINDOW = timedelta(hours=1)
SHORTEST, LONGEST = timedelta(seconds=10), timedelta(days=1)
QUICK, SLOW = 0.3, 2.0
"""Seconds: a step that takes less is followed by a longer one, a step that takes more by a shorter one."""
PASSES = 3
"""How often the log is walked again for observations that were written meanwhile."""
BUDGET = 20.0
"""Seconds of one run of the sweep."""


class Job(NamedTuple):
    """A restore that a step works on."""

    id: int
    selection: dict[str, Any]
    state: str
    applies: bool
    rescrape: bool
    fixes: bool
    since: datetime
    until: datetime
    walk: int
    position: datetime | None
    passes: int
    summary: dict[str, Any]


class Item(NamedTuple):
    """An entity that a step works on."""

    entity: str
    key: str
    account_id: str
    owner: str


SQL = Statements(__file__)
TAKE, PATIENT = SQL("take", Job), SQL("patient")
UNENDED, NOW = SQL("unended", int), SQL("now", datetime)
ADVANCE, END, COUNT = SQL("advance"), SQL("end"), SQL("count")
NEXT = SQL("next", Item)
FIRST = Item("", "", "", "")
WORKS_ON = {"PLANNING": ("NEW",), "APPLYING": ("NEW", "PLANNED"), "UNDOING": ("DONE",)}


@dataclass(slots=True)
class Pace:
    """How much a step of this process does."""

    chunk: int = CHUNK
    window: timedelta = WINDOW

    def took(self, seconds: float) -> None:
        if seconds < QUICK:
            self.chunk, self.window = min(self.chunk * 2, CHUNK), min(self.window * 2, LONGEST)
        elif seconds > SLOW:
            self.slower()

    def slower(self) -> None:
        self.chunk, self.window = max(self.chunk // 2, 1), max(self.window / 2, SHORTEST)


async def work(database: Database, job_id: int, *, epoch: int | None = None, seconds: float | None = None) -> bool:
    """Work on a restore until it waits for somebody or has ended, or for so many seconds. False where the time was over or another process works on it."""
    pace, ends = Pace(), None if seconds is None else time.monotonic() + seconds
    while ends is None or time.monotonic() < ends:
        began = time.monotonic()
        try:
            state = await database.again(lambda: _step(database, job_id, pace, epoch))
        except (StorageTooSlow, StorageBrokenOff):
            if pace.chunk == 1 and pace.window == SHORTEST:
                raise
            pace.slower()
            continue
        if state is None:
            return False
        if state not in ("COLLECTING", *WORKS_ON):
            return True
        pace.took(time.monotonic() - began)
    return False


async def resume(database: Database, epoch: int | None = None, *, seconds: float = BUDGET) -> Swept:
    """Go on with the restores that have not ended, the oldest first."""
    async with database.statements() as alone:
        unended = await alone.rows(UNENDED)
    ends, done = time.monotonic() + seconds, 0
    for job_id in unended:
        left = ends - time.monotonic()
        if left <= 0:
            break
        done += await work(database, job_id, epoch=epoch, seconds=left)
    return Swept(count=done)


async def _step(database: Database, job_id: int, pace: Pace, epoch: int | None) -> str | None:
    """The state after one step; None where another process works on the job, or this leader was replaced."""
    async with database.transaction() as transaction:
        await transaction.run(PATIENT)
        job = await transaction.row(TAKE, {"id": job_id, "epoch": epoch})
        if job is None:
            return None
        if job.state == "COLLECTING":
            state = await _collect(transaction, job, pace)
        elif job.state in WORKS_ON:
            state = await _chunk(transaction, job, pace)
        else:
            state = job.state
        hit("restore.before_commit", job_id)
    hit("restore.after_commit", job_id)
    return state


async def _collect(transaction: Transaction, job: Job, pace: Pace) -> str:
    """Note the entities of the next window of a log. Behind the last log, go on to what comes next."""
    selection = msgspec.convert(job.selection, Selection)
    found = targets(selection)
    if job.walk >= len(found):
        return await _collected(transaction, job)
    target = found[job.walk]
    keys = await keys_of(transaction, selection, target)
    begins = job.position or job.since
    whole = keys is not None or selection.fetch is not None
    ends = job.until if whole else min(begins + pace.window, job.until)
    condition, values = conditions(selection, target, keys)
    found_here = await transaction.only(
        statements.collect(target, condition), {**values, "job": job.id, "begins": begins, "ends": ends}
    )
    last = ends >= job.until
    summary = {**job.summary, "entities": job.summary.get("entities", 0) + found_here}
    await transaction.run(
        ADVANCE,
        {
            "id": job.id,
            "walk": job.walk + last,
            "position": None if last else ends,
            "summary": jsonb(summary),
        },
    )
    return "COLLECTING"


async def _collected(transaction: Transaction, job: Job) -> str:
    new = await transaction.rows(NEXT, {"job": job.id, "state": "NEW", **_after(FIRST), "limit": 1})
    if job.passes > 0 and (not new or job.passes >= PASSES):
        return await _end(transaction, job, "DONE")
    return await _end(transaction, job, "APPLYING" if job.applies else "PLANNING")


async def _end(transaction: Transaction, job: Job, state: str) -> str:
    """The state of a job ends; it goes on in another."""
    passes = job.passes + (job.state == "APPLYING")
    ended = state in ("DONE", "UNDONE")
    await transaction.run(END, {"id": job.id, "state": state, "passes": passes, "ended": ended})
    if ended:
        log.info(
            "restore_ended",
            restore=job.id,
            state=state,
            changed=job.summary.get("changed", 0),
            removed=job.summary.get("removed", 0),
        )
    return state


def _after(item: Item) -> dict[str, str]:
    return {"entity": item.entity, "key": item.key, "account": item.account_id, "owner": item.owner}


async def _chunk(transaction: Transaction, job: Job, pace: Pace) -> str:
    items: list[Item] = []
    for state in WORKS_ON[job.state]:
        items = await transaction.rows(NEXT, {"job": job.id, "state": state, **_after(FIRST), "limit": pace.chunk})
        if items:
            break
    if not items:
        after = {"PLANNING": "PLANNED", "UNDOING": "UNDONE", "APPLYING": "COLLECTING"}[job.state]
        return await _end(transaction, job, after)
    target = target_of(items[0].entity)
    keys = [Key(*item[1:]) for item in items if item.entity == items[0].entity]
    written, kept = (
        await undoing.undo(transaction, job.id, target, keys, since=job.since, until=job.until)
        if job.state == "UNDOING"
        else (await _restore(transaction, job, target, keys), 0)
    )
    await transaction.run(COUNT, {"id": job.id, "summary": jsonb(_counted(job, target, len(keys), written, kept))})
    return job.state


async def _restore(transaction: Transaction, job: Job, target: Target, keys: Sequence[Key]) -> list[Written]:
    """Set the rows of these entities to the fold without what is selected, or only say what that would change."""
    if job.fixes:
        return await _fix(transaction, job, target, keys)
    selection = msgspec.convert(job.selection, Selection)
    applies = job.state == "APPLYING"
    # The items are those that the handle named when they were collected; a restore may change the names.
    condition, values = conditions(selection, target, None)
    rows = await _held(transaction, target, keys)
    folded = await folds(transaction, target, dict.fromkeys(rows), begins=job.since, choice=Choice(condition, values))
    changes = {key: change_of(target.entity, row, folded[key], folded[key].affected) for key, row in rows.items()}
    # An entity that was deleted, or whose bad observations left the log: there is nothing to be done.
    order = [key for key in keys if key in changes and folded[key].affected]
    written = await _write(transaction, job, target, keys, order, changes)
    if applies:
        await transaction.run(
            statements.exclude(target, condition), {**values, "job": job.id, "keys": [key.key for key in keys]}
        )
        changed = [order[one.nth - 1] for one in written if one.fields]
        await reuse.no_newer_than(transaction, _answers(changed, folded))
        if job.rescrape:
            await scrape_again(transaction, job.id, target, changed)
    return written


async def _fix(transaction: Transaction, job: Job, target: Target, keys: Sequence[Key]) -> list[Written]:
    """Set what the log tells of these entities to what it tells."""
    rows = await _held(transaction, target, keys)
    folded = await folds(transaction, target, known_in(target.entity, rows), begins=await transaction.only(NOW))
    order = [key for key in keys if key in rows and folded[key].newest is not None]
    changes = {key: change_of(target.entity, rows[key], folded[key], folded[key].fields) for key in order}
    return await _write(transaction, job, target, keys, order, changes)


async def _held(transaction: Transaction, target: Target, keys: Sequence[Key]) -> dict[Key, dict[str, msgspec.Raw]]:
    """The rows of these entities that are there, which are locked now."""
    held = await statements.by_keys(transaction, statements.hold(target), names_in(keys))
    return {keys[one.nth - 1]: _DECODER.decode(one.row) for one in held if one.row is not None}


async def _write(
    transaction: Transaction,
    job: Job,
    target: Target,
    keys: Sequence[Key],
    order: Sequence[Key],
    changes: Mapping[Key, Change],
) -> list[Written]:
    ordered = set(order)
    rest = [key for key in keys if key not in ordered]
    if rest:
        state = "DONE" if job.state == "APPLYING" else "PLANNED"
        await transaction.run(SETTLE, {**names_in(rest), "job": job.id, "entity": target.entity.table, "state": state})
    if not order:
        return []
    given = arrays(
        [(*key, changes[key].text, str(changes[key].removed).lower()) for key in order],
        "keys",
        "accounts",
        "owners",
        "values",
        "removed",
    )
    if job.state == "PLANNING":
        return await statements.by_keys(transaction, statements.plan(target), {**given, "job": job.id})
    columns = tuple(await transaction.rows(COLUMNS, {"table": target.entity.table}))
    return await statements.by_keys(transaction, statements.apply(target, columns), {**given, "job": job.id})


SETTLE = SQL("settle")
_DECODER = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _answers(changed: Sequence[Key], folded: Mapping[Key, Folded]) -> dict[int, datetime | None]:
    """The requests that brought bad observations, and how old what is known now is; None: nothing is known any more."""
    found: dict[int, datetime | None] = {}
    for key in changed:
        of = folded[key]
        at = None if of.newest is None else of.newest.observed_at
        for request in of.bad_requests:
            known = found.setdefault(request, at)
            if at is None or (known is not None and at < known):
                found[request] = at
    return found


def _counted(job: Job, target: Target, entities: int, written: Sequence[Written], kept: int) -> dict[str, Any]:
    """The summary of a job after a chunk."""
    summary = dict(job.summary)
    if job.state == "UNDOING":
        summary["undone"] = summary.get("undone", 0) + entities
        summary["kept"] = summary.get("kept", 0) + kept
        return summary
    if job.state == "APPLYING" and not summary.get("applied"):
        # What the plan had counted is counted again, as it is written.
        summary = {"entities": summary.get("entities", 0), "applied": True}
    changed = [one for one in written if one.fields]
    summary["done"] = summary.get("done", 0) + entities
    summary["changed"] = summary.get("changed", 0) + len(changed)
    summary["removed"] = summary.get("removed", 0) + sum(one.removed for one in written)
    fields = Counter(summary.get("fields", {}))
    fields.update(f"{target.platform} {target.entity.kind} {name}" for one in changed for name in one.fields)
    return {**summary, "fields": dict(fields)}
