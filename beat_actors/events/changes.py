"""Which observations changed an entity, found again from the log of its observations.

The rule is that of `pipeline/entities`: an observation changes an entity if it tells something other than what was known, and what it does not tell
changes nothing. So the observations of a thing are read in their order, from the first that is kept.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from beat_actors.database import Composed, Database
from beat_actors.pipeline.entities import SUBJECTS
from beat_actors.platforms.interface import Entity

THINGS = 100
"""Things whose observations are read at once."""

PAGE = """
SELECT {key} AS key, account_id, owner FROM "{table}" WHERE ({key}, account_id, owner) > (%(key)s, %(account)s, %(owner)s)
ORDER BY {key}, account_id, owner LIMIT %(limit)s
"""
OBSERVED = """
SELECT l.{subject} AS key, l.account_id, l.owner, l.observed_at, l.request_id, l.dimensions || l.metrics AS told
FROM (SELECT DISTINCT key FROM unnest(%(keys)s::text[]) k(key)) k
JOIN {log} l ON l.platform = %(platform)s AND l.{subject} = k.key AND l.observed_at < %(until)s
ORDER BY l.{subject}, l.account_id, l.owner, l.observed_at, l.fetch_id
"""


class Thing(NamedTuple):
    """An entity, as an account and an owner's credential observe it."""

    key: str
    account_id: str
    owner: str


class Observation(NamedTuple):
    """What an answer told of a thing."""

    key: str
    account_id: str
    owner: str
    observed_at: datetime
    request_id: int
    told: Mapping[str, Any]


class Change(NamedTuple):
    """An answer that changed entities of one kind."""

    request_id: int
    account_id: str
    owner: str
    observed_at: datetime


def has_history(entity: Entity) -> bool:
    """Whether the observations of an entity are logged under its own key."""
    return entity.log is not None and entity.subject is None


async def changes(
    database: Database, platform: str, entity: Entity, since: datetime, until: datetime
) -> Mapping[Change, list[str]]:
    """The answers from `since` to `until` that changed entities of this kind, with the keys of these, in their order."""
    found: dict[Change, set[str]] = {}
    async for observations in _histories(database, platform, entity, until):
        for change, key in _changed(entity, observations):
            if change.observed_at >= since:
                found.setdefault(change, set()).add(key)
    ordered = sorted(found, key=lambda change: (change.observed_at, change.request_id))
    return {change: sorted(found[change]) for change in ordered}


async def _histories(
    database: Database, platform: str, entity: Entity, until: datetime
) -> AsyncIterator[list[Observation]]:
    """Pages of things, each with all of its observations until then."""
    assert entity.log is not None
    page = Composed("events/changes.page", PAGE.format(key=entity.key, table=entity.table), Thing)
    observed = Composed(
        "events/changes.observed", OBSERVED.format(subject=SUBJECTS[entity.log], log=entity.log), Observation
    )
    last = Thing("", "", "")
    while True:
        async with database.statements() as alone:
            values = {"key": last.key, "account": last.account_id, "owner": last.owner, "limit": THINGS}
            things = await alone.rows(page, values)
            if not things:
                return
            keys = [thing.key for thing in things]
            rows = await alone.rows(observed, {"keys": keys, "platform": platform, "until": until})
        wanted = set(things)
        yield [row for row in rows if Thing(row.key, row.account_id, row.owner) in wanted]
        last = things[-1]


def _changed(entity: Entity, observations: list[Observation]) -> list[tuple[Change, str]]:
    """Of observations in order of things and times, those that changed something."""
    fields = {*entity.fields}
    found: list[tuple[Change, str]] = []
    thing: Thing | None = None
    known: dict[str, Any] = {}
    for row in observations:
        if not row.told.keys() <= fields:
            continue  # of another kind that is logged under the same subject
        if thing != (row.key, row.account_id, row.owner):
            thing, known, is_new = Thing(row.key, row.account_id, row.owner), {}, True
        else:
            is_new = False
        if is_new or any(name not in known or known[name] != value for name, value in row.told.items()):
            found.append((Change(row.request_id, row.account_id, row.owner, row.observed_at), row.key))
        known |= row.told
    return found
