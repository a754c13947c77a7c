"""Keeps the last good state of entities when days of the logs are past their age.

Before a day is dropped, each entity that was observed on it is looked at: fields that it told on this day and that no later row of the log tells are
kept in `entity_base`. Entities that go on being observed need nothing of it. Days are dropped only once this is done (`requests/sweeps`).
"""

import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from functools import cache
from typing import NamedTuple

import msgspec

from beat_actors.database import Composed, Database, Statement, Statements, Transaction, arrays
from beat_actors.pipeline.entities import SUBJECTS
from beat_actors.requests.swept import Swept
from beat_actors.restoring.change import logged_names
from beat_actors.restoring.fold import Folded, Observation, fold, newest_first
from beat_actors.restoring.reading import Key, folds, names_in, observations
from beat_actors.restoring.selection import Target, targets

PAGE = 500
BUDGET = 15.0
"""Seconds of one run of the sweep."""


class Reached(NamedTuple):
    """How far a log was read: all days before `day`, and of `day` all entities up to this one. `stays`: the first day that is not past its age."""

    day: date
    stays: date
    platform: str
    key: str
    account_id: str
    owner: str


class Subject(NamedTuple):
    """Something that was observed on a day."""

    key: str
    account_id: str
    owner: str


SQL = Statements(__file__)
PATIENT = SQL("patient")
REACHED, ADVANCE, KEEP = SQL("reached", Reached), SQL("advance"), SQL("keep")


async def sweep(database: Database, epoch: int | None = None, *, seconds: float = BUDGET) -> Swept:
    """Read days that are past their age, for some seconds; how many entities were looked at."""
    ends, count = time.monotonic() + seconds, 0
    for log in sorted(SUBJECTS):
        while time.monotonic() < ends:
            looked = await step(database, log, epoch)
            if looked is None:
                break
            count += looked
    return Swept(count=count)


async def step(database: Database, log: str, epoch: int | None = None) -> int | None:
    """Look at the next entities of a day; None where no day is past its age."""
    async with database.transaction() as transaction:
        await transaction.run(PATIENT)
        at = await transaction.only(REACHED, {"log": log, "days": database.settings.log_days})
        if at.day >= at.stays:
            return None
        platforms = sorted(
            {target.platform for target in targets() if target.log == log and target.platform >= at.platform}
        )
        page: list[Subject] = []
        if platforms:
            page = await transaction.rows(_page(log), {**_day(at.day), **_place(at, platforms[0])})
            keys = [Key(*one) for one in page]
            for target in targets():
                if page and (target.log, target.platform) == (log, platforms[0]):
                    await _keep(transaction, target, at.day, keys, epoch)
        await transaction.run(ADVANCE, {"log": log, "epoch": epoch, **_next(at, platforms, page)})
        return len(page)


def _place(at: Reached, platform: str) -> dict[str, object]:
    same = platform == at.platform
    place = (
        {"key": at.key, "account": at.account_id, "owner": at.owner}
        if same
        else dict.fromkeys(("key", "account", "owner"), "")
    )
    return {**place, "platform": platform, "limit": PAGE}


def _next(at: Reached, platforms: Sequence[str], page: Sequence[Subject]) -> dict[str, object]:
    """Where the next step goes on: in the page of this platform, with the next platform, or on the next day."""
    nothing = {"key": "", "account": "", "owner": ""}
    if len(page) == PAGE:
        last = page[-1]
        return {
            "day": at.day,
            "platform": platforms[0],
            "key": last.key,
            "account": last.account_id,
            "owner": last.owner,
        }
    if len(platforms) > 1:
        return {"day": at.day, "platform": platforms[1], **nothing}
    return {"day": at.day + timedelta(days=1), "platform": "", **nothing}


def _day(day: date) -> dict[str, datetime]:
    begins = datetime.combine(day, clock_time(), UTC)
    return {"begins": begins, "ends": begins + timedelta(days=1)}


async def _keep(
    transaction: Transaction, target: Target, day: date, subjects: Sequence[Key], epoch: int | None
) -> None:
    keys = [Key(*one) for one in await transaction.rows(_kept(target), names_in(subjects))]
    if not keys:
        return
    times = _day(day)
    read = await observations(transaction, target, keys, begins=times["begins"], ends=times["ends"])
    of_day = {key: fold(newest_first(some)) for key, some in read.items()}
    names = {
        key: logged_names(target.entity) & one.fields.keys() for key, one in of_day.items() if one.newest is not None
    }
    later = await folds(transaction, target, names, begins=await transaction.only(NOW), floor=times["ends"])
    kept = [(key, one) for key, one in sorted(of_day.items()) if key in names and later[key].lacks(names[key])]
    rows = [_row(key, one, later[key].lacks(names[key])) for key, one in kept]
    if rows:
        columns = ("keys", "accounts", "owners", "fields", "times", "sources", "versions", "requests")
        given = {**arrays(rows, *columns), "entity": target.entity.table, "platform": target.platform, "epoch": epoch}
        await transaction.run(KEEP, given)


def _row(key: Key, one: Folded, names: set[str]) -> tuple[object, ...]:
    newest = one.newest
    assert isinstance(newest, Observation)
    fields = {name: {"value": msgspec.Raw(one.fields[name].value), "at": one.fields[name].at} for name in sorted(names)}
    text = msgspec.json.encode(fields).decode()
    return (*key, text, newest.observed_at, newest.source, newest.parser_version, newest.request_id)


NOW: Statement[datetime] = Composed("restoring/keeping.now", "SELECT clock_timestamp() AS now", datetime)


@cache
def _page(log: str) -> Statement[Subject]:
    """The next subjects that were observed on a day, through the index of the day's partition."""
    subject = SUBJECTS[log]
    text = f"""
SELECT l.{subject} AS key, l.account_id, l.owner FROM {log} l
WHERE l.platform = %(platform)s AND l.observed_at >= %(begins)s AND l.observed_at < %(ends)s AND l.{subject} >= %(key)s
    AND (l.{subject}, l.account_id, l.owner) > (%(key)s, %(account)s, %(owner)s)
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT %(limit)s"""  # noqa: S608 - names of Beat
    return Composed("restoring/keeping.page", text, Subject)


@cache
def _kept(target: Target) -> Statement[Subject]:
    """Those of these entities that are still known; what was forgotten or erased comes to no base."""
    entity = target.entity
    text = f"""
SELECT t.{entity.key} AS key, t.account_id, t.owner FROM "{entity.table}" t
WHERE (t.{entity.key}, t.account_id, t.owner) IN (SELECT * FROM unnest(%(keys)s::text[], %(accounts)s::text[], %(owners)s::text[]))
ORDER BY 1, 2, 3 FOR KEY SHARE"""  # noqa: S608 - declared
    return Composed("restoring/keeping.kept", text, Subject)
