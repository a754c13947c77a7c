"""What the requests of accounts brought, written with it: so an account sees it, is told when it changes, and resumes from its own
runs, whoever brings the same later."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from beat_actors.database import Transaction, columns
from beat_actors.platforms.interface import Entity, Platform

# What an account has not had before is told to it, whosever request had it logged; unless this very transaction has told of it.
# Inserted in one order, so that two batches with the same things cannot deadlock.
SEEN = """
WITH had AS (
    SELECT * FROM unnest(%(accounts)s::text[], %(platforms)s::text[], %(kinds)s::text[], %(keys)s::text[], %(requests)s::bigint[])
        AS had(account_id, platform, kind, key, request_id)
), new AS (
    INSERT INTO account_seen (account_id, platform, kind, key) SELECT DISTINCT account_id, platform, kind, key FROM had ORDER BY 1, 2, 3, 4
    ON CONFLICT DO NOTHING RETURNING *
), untold AS (
    SELECT n.account_id, n.platform, n.kind, n.key, min(h.request_id) AS request_id FROM new n JOIN had h USING (account_id, platform, kind, key)
    WHERE NOT EXISTS (
        SELECT FROM change_log c WHERE c.at = now() AND c.xid = pg_current_xact_id() AND c.platform = n.platform AND c.kind = n.kind
            AND n.key = ANY(c.keys))
    GROUP BY n.account_id, n.platform, n.kind, n.key
)
INSERT INTO change_log (at, platform, kind, request_id, account_id, keys)
SELECT now(), platform, kind, request_id, account_id, array_agg(key ORDER BY key) FROM untold
GROUP BY platform, kind, request_id, account_id ORDER BY request_id
"""
MARK = """
INSERT INTO account_mark (account_id, platform, field, key, at)
SELECT account_id, platform, field, key, max(at::timestamptz)
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[]) AS m(account_id, platform, field, key, at)
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
ON CONFLICT (account_id, platform, field, key) DO UPDATE SET at = greatest(account_mark.at, excluded.at)
"""


@dataclass(frozen=True, slots=True)
class Brought:
    """Records of one kind, a JSON array, that a request of an account brought."""

    account_id: str
    request_id: int
    platform: Platform
    entity: Entity
    records: bytes | msgspec.Raw


async def note(transaction: Transaction, brought: Sequence[Brought]) -> None:
    """After the things themselves are written, in the same transaction: one statement, and one where a listing has come to its end."""
    seen: dict[tuple[str, str, str, str, int], None] = {}
    marks: list[tuple[str, str, str, str, str]] = []
    for one in brought:
        fields = _marks(one.platform, one.entity)
        for record in _decoder(one.entity, fields).decode(one.records):
            key = str(getattr(record, one.entity.key))
            seen[one.account_id, one.platform.name, one.entity.kind, key, one.request_id] = None
            marks += [
                (one.account_id, one.platform.name, field, key, at)
                for field in fields
                if (at := getattr(record, field)) is not None
            ]
    if seen:
        names = ("accounts", "platforms", "kinds", "keys", "requests")
        await transaction.run(SEEN, dict(zip(names, columns(seen, 5), strict=True)))
    if marks:
        await transaction.run(MARK, columns(marks, 5))


def _marks(platform: Platform, entity: Entity) -> tuple[str, ...]:
    """The fields from which a flow resumes."""
    resumes = [flow.resume for flow in platform.flows.values() if flow.resume is not None]
    return tuple(sorted({resume.field for resume in resumes if resume.table == entity.table}))


@cache
def _decoder(entity: Entity, marks: tuple[str, ...]) -> Any:
    """Reads of a record what is needed here and passes over the rest."""
    fields: list[Any] = [(entity.key, str | int), *((field, str | None, None) for field in marks)]
    return msgspec.json.Decoder(list[msgspec.defstruct("Key", fields)])  # type: ignore[misc]
