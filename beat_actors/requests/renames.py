"""Things that a provider does not find under a name any more, and whose id is known: the request goes on with the id.

Whoever had the name last is asked for by the id: the row that has it, or whom an earlier request has found in this way (`absence` names that request). A
name that was given away is found, so nothing of this happens: it leads to another entity.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from beat_actors.database import Composed, Statement, Statements, Transaction
from beat_actors.fetches.ending import Failed
from beat_actors.fetches.follow_ups import follow_up
from beat_actors.platforms.interface import FetchSpec
from beat_actors.platforms.registry import platforms

MOVED = "moved"
"""What the data of a request say that went on with an id: the operation, and both parameters."""


class Known(NamedTuple):
    """A fetch that found nothing under a name, and the key of the thing that had it."""

    id: int
    request_id: int
    run: int
    platform: str
    flow: str
    priority: int
    name: str
    owner: str | None
    key: str


class Way(NamedTuple):
    """How things of a table are asked for: by a name (`operation`, `param`), or by their key (`by_key`, `key_param`)."""

    table: str
    key: str
    handle: str
    operation: str
    param: str
    by_key: str
    key_param: str


SQL = Statements(__file__)
IN_VAIN = SQL("in_vain", int)
LAST = SQL.fragment("last")


@cache
def ways(platform: str) -> tuple[Way, ...]:
    """Of a platform's operations those that ask for a thing by a name, where another one asks for it by its key."""
    declared, found = platforms()[platform], list[Way]()
    for rules in declared.trust.entities:
        table = next(entity.table for entity in declared.entities if entity.record is rules.record)
        by = {
            (field, operation): param for operation, named in rules.identity.items() for param, field in named.items()
        }
        keys = [(operation, param) for (field, operation), param in by.items() if field == rules.key]
        if not rules.handle or not keys:
            continue
        by_key, key_param = keys[0]
        found += [
            Way(table, rules.key, rules.handle, operation, param, by_key, key_param)
            for (field, operation), param in by.items()
            if field == rules.handle and by_key in declared.chains
        ]
    return tuple(found)


async def follow(transaction: Transaction, missing: Sequence[Failed]) -> dict[int, dict[str, Any]]:
    """Go on with the id of what these fetches, the first of their requests, did not find; by fetch, what the data of its request say of it.

    Adds one fetch for each of them; the caller counts it.
    """
    moved: dict[int, dict[str, Any]] = {}
    wanted: list[tuple[Known, FetchSpec]] = []
    for platform in sorted({row.platform for row in missing}):
        ids = [row.id for row in missing if row.platform == platform]
        for way in ways(platform):
            values = {"ids": ids, "operation": way.operation, "param": way.param}
            for row in await transaction.rows(_known(way), values):
                wanted.append((row, FetchSpec(way.by_key, {way.key_param: row.key}, owner=row.owner)))
                moved[row.id] = {"operation": way.by_key, way.param: row.name, way.key_param: row.key}
    await follow_up(transaction, wanted)
    return moved


async def in_vain(transaction: Transaction, fetch_ids: Sequence[int]) -> set[int]:
    """Of these fetches, which found nothing, those that went on with an id: what was asked for is missing."""
    return set(await transaction.rows(IN_VAIN, {"ids": list(fetch_ids)})) if fetch_ids else set()


@cache
def _known(way: Way) -> Statement[Known]:
    """Two look-ups for each fetch: of who has the name, by its index, and of the request that found somebody before. Parameters: ids (bigint[]),
    operation, param (text). Locks nothing."""
    text = f"""
SELECT f.id, f.request_id, f.run, f.platform, l.flow, f.priority, f.params->>%(param)s AS name, f.owner, coalesce(k.key, m.key) AS key
FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id JOIN scrape_request_log r ON r.id = f.request_id AND r.live AND r.retry_count = f.run
LEFT JOIN LATERAL (
    SELECT t.{way.key} AS key FROM "{way.table}" t WHERE t.{way.handle} = ltrim(f.params->>%(param)s, '@')
        AND t.account_id = coalesce(r.account_id, '') AND t.owner = coalesce(f.owner, '')
    ORDER BY t.observed_at DESC LIMIT 1) k ON true
LEFT JOIN LATERAL ({LAST}) m ON k.key IS NULL
WHERE f.id = ANY(%(ids)s) AND f.operation = %(operation)s AND coalesce(k.key, m.key) IS NOT NULL
ORDER BY f.id""".replace("{key_param}", way.key_param)  # noqa: S608 - declared
    return Composed("requests/renames.known", text, Known)
