"""How the broker's state is written back to PostgreSQL, where it changed; `loading` reads it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from beat_actors.broker.breaker import Breaker
from beat_actors.broker.state import BreakerKey, Checked, Credential, Happened, Settlement
from beat_actors.broker.windows import Window
from beat_actors.database import Database, Pipeline, Transaction, columns, jsonb
from beat_actors.platforms.interface import Outcome

# `disabled_till` only ever grows here: a rest that a person or another turn made longer is not shortened. The one write that
# clears it is a probe's success. What is dead is checked and refreshed when it is looked at again, or to prove its new secret.
SAVE_CREDENTIALS = """
UPDATE credential c SET
    disabled_till = CASE WHEN n.disabled_till IS NULL THEN NULL ELSE greatest(c.disabled_till, to_timestamp(n.disabled_till)) END,
    disabled_reason = n.disabled_reason,
    dead_at = CASE WHEN n.dead THEN coalesce(c.dead_at, clock_timestamp()) END, dead_reason = n.dead_reason,
    denied = n.denied, denials = n.denials, denied_until = to_timestamp(n.denied_until), ladder = n.ladder, ladder_at = to_timestamp(n.ladder_at), probing = n.probing,
    reported_remaining = n.reported_remaining, reported_reset_at = to_timestamp(n.reported_reset_at),
    dead_looks = n.looks,
    check_at = CASE WHEN n.look_at IS NOT NULL THEN to_timestamp(n.look_at) WHEN n.dead AND NOT n.unproven THEN NULL ELSE c.check_at END,
    refresh_at = CASE WHEN n.look_at IS NOT NULL AND c.refreshes THEN to_timestamp(n.look_at) WHEN n.dead AND NOT n.unproven THEN NULL WHEN n.refused THEN clock_timestamp() ELSE c.refresh_at END,
    expires_at = CASE WHEN n.refused THEN to_timestamp(n.good_until) ELSE c.expires_at END,
    updated_at = clock_timestamp()
FROM jsonb_to_recordset(%s::jsonb) AS n(
    id bigint, disabled_till double precision, disabled_reason text, dead boolean, dead_reason text, denied text[],
    ladder smallint, ladder_at double precision, probing boolean, reported_remaining integer, reported_reset_at double precision,
    unproven boolean, refused boolean, good_until double precision, looks smallint, look_at double precision,
    denials jsonb, denied_until double precision)
WHERE c.id = n.id AND c.id = ANY(%s)
"""
# The ids once more as an array, so that the rows are found by them, and the table is not read for a join.
SAVE_FULL = """
UPDATE credential c SET full_until = to_timestamp(n.until) FROM unnest(%(ids)s::bigint[], %(until)s::double precision[]) AS n(id, until)
WHERE c.id = n.id AND c.id = ANY(%(ids)s)
"""
# A refresh says how long its token is good; a check of it does not know better.
SAVE_CHECKED = """
UPDATE credential c SET checked_at = to_timestamp(n.at), check_at = to_timestamp(n.next_at), check_outcome = n.outcome,
    check_detail = n.detail,
    scopes = CASE WHEN n.facts IS NULL THEN c.scopes WHEN jsonb_typeof(n.facts->'scopes') = 'array'
                  THEN ARRAY(SELECT jsonb_array_elements_text(n.facts->'scopes')) END,
    expires_at = CASE WHEN n.facts IS NULL OR c.refreshes THEN c.expires_at
                      ELSE to_timestamp((n.facts->>'expires_at')::double precision) END,
    data_access_expires_at = CASE WHEN n.facts IS NULL THEN c.data_access_expires_at
                                  ELSE to_timestamp((n.facts->>'data_access_expires_at')::double precision) END
FROM jsonb_to_recordset(%s::jsonb) AS n(
    credential_id bigint, at double precision, next_at double precision, outcome text, detail text, facts jsonb)
WHERE c.id = n.credential_id
"""
SAVE_BREAKERS = """
INSERT INTO breaker (platform, source, operation, kind, since, recent, calls, failures, trips, open_until, probing, by_hand, unreached)
SELECT %s, n.source, n.operation, n.kind, to_timestamp(n.since), n.recent, n.calls, n.failures, n.trips, to_timestamp(n.open_until),
       n.probing, n.by_hand, n.unreached
FROM jsonb_to_recordset(%s::jsonb) AS n(
    source text, operation text, kind text, since double precision, recent jsonb, calls integer, failures integer, trips integer,
    open_until double precision, probing boolean, by_hand boolean, unreached jsonb)
ON CONFLICT (platform, source, operation, kind) DO UPDATE SET
    since = excluded.since, recent = excluded.recent, calls = excluded.calls, failures = excluded.failures,
    trips = excluded.trips, open_until = excluded.open_until, probing = excluded.probing, by_hand = excluded.by_hand,
    unreached = excluded.unreached
"""
# In the key's order, so that it cannot deadlock. One without failures is forgotten, so that healthy owners cost no row.
SAVE_OWNERS_BREAKERS = """
WITH n AS (
    SELECT %(platform)s AS platform, r.* FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
        source text, operation text, kind text, owner text, since double precision, recent jsonb, calls integer, failures integer,
        trips integer, open_until double precision, probing boolean, unreached jsonb)
), forgotten AS (
    DELETE FROM owner_breaker b USING n WHERE n.failures = 0 AND n.open_until IS NULL
      AND (b.platform, b.source, b.operation, b.kind, b.owner) = (n.platform, n.source, n.operation, n.kind, n.owner)
)
INSERT INTO owner_breaker (platform, source, operation, kind, owner, since, recent, calls, failures, trips, open_until, probing, unreached)
SELECT n.platform, n.source, n.operation, n.kind, n.owner, to_timestamp(n.since), n.recent, n.calls, n.failures, n.trips,
       to_timestamp(n.open_until), n.probing, n.unreached
FROM n WHERE n.failures > 0 OR n.open_until IS NOT NULL
ON CONFLICT (platform, source, operation, kind, owner) DO UPDATE SET
    since = excluded.since, recent = excluded.recent, calls = excluded.calls, failures = excluded.failures, trips = excluded.trips,
    open_until = excluded.open_until, probing = excluded.probing, unreached = excluded.unreached
"""
SAVE_USAGE = """
INSERT INTO credential_usage (subject, limit_name, head, counts)
SELECT n.subject, n.limit_name, n.head, n.counts
FROM jsonb_to_recordset(%s::jsonb) AS n(subject text, limit_name text, head bigint, counts integer[])
ON CONFLICT (subject, limit_name) DO UPDATE SET head = excluded.head, counts = excluded.counts
"""
COUNT_CALLS = """
INSERT INTO credential_usage (subject, limit_name, calls)
SELECT 'credential:' || n.id, 'total', n.calls FROM unnest(%s::bigint[], %s::bigint[]) AS n(id, calls)
ON CONFLICT (subject, limit_name) DO UPDATE SET calls = credential_usage.calls + excluded.calls
"""
# Parameters: the platform, then arrays of (source, operation, calls, last code). One row for each source and operation; it begins anew
# with the first refusal after an hour. The turn alone writes here, under the platform's lock.
COUNT_REFUSALS = """
INSERT INTO refusal AS r (platform, source, operation, since, at, calls, code)
SELECT %s, n.source, n.operation, clock_timestamp(), clock_timestamp(), n.calls, n.code
FROM unnest(%s::text[], %s::text[], %s::integer[], %s::text[]) AS n(source, operation, calls, code)
ON CONFLICT (platform, source, operation) DO UPDATE SET at = excluded.at, code = excluded.code,
    since = CASE WHEN r.since > excluded.at - interval '1 hour' THEN r.since ELSE excluded.since END,
    calls = CASE WHEN r.since > excluded.at - interval '1 hour' THEN r.calls ELSE 0 END + excluded.calls
"""
SAVE_EVENTS = """
INSERT INTO credential_event (credential_id, kind, until, cause)
SELECT n.credential_id, n.kind, to_timestamp(n.until), n.cause
FROM jsonb_to_recordset(%s::jsonb) AS n(credential_id bigint, kind text, until double precision, cause jsonb)
"""


LOCK = "SELECT pg_advisory_xact_lock(hashtext('beat.broker'), hashtext(%s))"
Writer = Transaction | Pipeline


async def lock(writer: Writer, platform: str) -> None:
    """Serialize with every other turn of the platform, cluster-wide, until the transaction ends.

    A statement of its own: what is read in the same statement would be as old as the wait for the lock.
    """
    await writer.run(LOCK, (platform,))


async def between_turns(database: Database, platform: str, change: Callable[[Transaction], Awaitable[None]]) -> None:
    """Run `change` in a transaction that no turn of the platform overlaps: a turn that is under way would write back what it had read.

    It runs again where PostgreSQL breaks it off, as when the turns before it took longer than the lock's time-out. Raises
    `StorageContended` after five tries.
    """

    async def once() -> None:
        async with database.transaction() as transaction:
            await lock(transaction, platform)
            await change(transaction)

    await database.again(once)


async def save_credentials(writer: Writer, credentials: Iterable[Credential]) -> None:
    changed = [
        {
            "id": c.id,
            "disabled_till": c.disabled_till,
            "disabled_reason": c.disabled_reason,
            "dead": c.dead,
            "dead_reason": c.dead_reason,
            "denied": sorted(c.denied),
            "denials": {operation: asdict(c.denials[operation]) for operation in sorted(c.denied & c.denials.keys())},
            "denied_until": min((c.denied_until(operation) or 0.0 for operation in c.denied), default=None),
            "ladder": c.ladder,
            "ladder_at": c.ladder_at,
            "probing": c.probing,
            "reported_remaining": c.reported_remaining,
            "reported_reset_at": c.reported_reset_at,
            "unproven": c.unproven,
            "looks": c.looks,
            "look_at": c.look_at,
            "refused": c.refused,
            "good_until": c.good_until,
        }
        for c in credentials
        if c.changed
    ]
    if changed:
        await writer.run(SAVE_CREDENTIALS, (jsonb(changed), [each["id"] for each in changed]))


async def save_full(writer: Writer, until: Mapping[int, float | None]) -> None:
    """Until when the limits of these credentials have no room."""
    if until:
        await writer.run(SAVE_FULL, {"ids": list(until), "until": list(until.values())})


async def save_checked(writer: Writer, checked: Sequence[Checked]) -> None:
    """To be done before the credentials are saved: a check that found one dead ends its being checked."""
    rows = [
        {
            "credential_id": item.credential_id,
            "at": item.at,
            "next_at": item.next_at,
            "outcome": item.outcome,
            "detail": item.detail,
            "facts": None if item.facts is None else asdict(item.facts),
        }
        for item in checked
    ]
    if rows:
        await writer.run(SAVE_CHECKED, (jsonb(rows),))


async def save_breakers(writer: Writer, platform: str, breakers: Sequence[tuple[BreakerKey, Breaker]]) -> None:
    rows = [
        {
            "source": source,
            "operation": operation,
            "kind": kind,
            "owner": owner,
            "since": b.since,
            "recent": b.recent,
            "calls": b.calls,
            "failures": b.failures,
            "trips": b.trips,
            "open_until": b.open_until,
            "probing": b.probing,
            "by_hand": b.by_hand,
            "unreached": b.unreached,
        }
        for (source, operation, kind, owner), b in breakers
    ]
    if everybodys := [row for row in rows if not row["owner"]]:
        await writer.run(SAVE_BREAKERS, (platform, jsonb(everybodys)))
    if owners := [row for row in rows if row["owner"]]:
        await writer.run(SAVE_OWNERS_BREAKERS, {"platform": platform, "rows": jsonb(owners)})


async def save_windows(writer: Writer, windows: Iterable[Window]) -> None:
    rows = []
    for window in windows:
        if window.dirty:
            head, counts = window.stored()
            rows.append({"subject": window.subject, "limit_name": window.limit.name, "head": head, "counts": counts})
    if rows:
        await writer.run(SAVE_USAGE, (jsonb(rows),))


async def count_calls(writer: Writer, calls: dict[int, int]) -> None:
    """Add to each credential's total, which is what the ledger is held against."""
    counted: list[tuple[Any, ...]] = [(credential_id, n) for credential_id, n in sorted(calls.items()) if n]
    if counted:
        await writer.run(COUNT_CALLS, columns(counted, 2))


async def count_refusals(writer: Writer, platform: str, settlements: Iterable[Settlement]) -> None:
    """Count the calls that were refused for a reason that no rule knows, by source and operation."""
    counted: dict[tuple[str, str], tuple[int, str]] = {}
    for each in settlements:
        if each.outcome is Outcome.REFUSED and each.calls:
            calls, _ = counted.get((each.source, each.operation), (0, ""))
            counted[each.source, each.operation] = (calls + each.calls, each.code)
    if counted:
        rows = [(*key, *value) for key, value in sorted(counted.items())]
        await writer.run(COUNT_REFUSALS, (platform, *columns(rows, 4)))


async def save_events(writer: Writer, events: Sequence[Happened]) -> None:
    rows = [
        {"credential_id": e.credential_id, "kind": e.kind, "until": e.until, "cause": dict(e.cause)} for e in events
    ]
    if rows:
        await writer.run(SAVE_EVENTS, (jsonb(rows),))
