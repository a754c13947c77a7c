"""How the broker's state lies in PostgreSQL: loaded whole for one platform, written back where it changed."""

from collections.abc import Iterable, Sequence
from typing import Any

from beat_actors.credentials.breaker import Breaker
from beat_actors.credentials.limits import Window
from beat_actors.credentials.state import BreakerKey, Budgets, Credential, Happened, Lane, Snapshot
from beat_actors.database import Transaction, columns, jsonb
from beat_actors.platforms.interface import Limit, Platform

CREDENTIALS = """
SELECT id, source, owner, weight, enabled, extract(epoch FROM disabled_till)::double precision AS disabled_till,
       dead_at IS NOT NULL AS dead, denied, ladder, extract(epoch FROM ladder_at)::double precision AS ladder_at, probing,
       reported_remaining, extract(epoch FROM reported_reset_at)::double precision AS reported_reset_at,
       disabled_reason, dead_reason
FROM credential WHERE platform = %s ORDER BY id
"""
BREAKERS = """
SELECT source, operation, kind, in_a_row, coalesce(extract(epoch FROM window_start), 0)::double precision AS window_start,
       calls, failures, trips, extract(epoch FROM open_until)::double precision AS open_until, probing
FROM breaker WHERE platform = %s
"""
LANES = "SELECT id, operation, priority, sources, owner FROM lane WHERE platform = %s ORDER BY id"
USAGE = (
    "SELECT subject, limit_name, head, counts FROM credential_usage WHERE subject = ANY(%s) AND limit_name <> 'total'"
)

# `disabled_till` only ever grows here: a rest that a person or another turn made longer is not shortened. The one write that
# clears it is a probe's success.
SAVE_CREDENTIALS = """
UPDATE credential c SET
    disabled_till = CASE WHEN n.disabled_till IS NULL THEN NULL ELSE greatest(c.disabled_till, to_timestamp(n.disabled_till)) END,
    disabled_reason = n.disabled_reason,
    dead_at = CASE WHEN n.dead THEN coalesce(c.dead_at, clock_timestamp()) END, dead_reason = n.dead_reason,
    denied = n.denied, ladder = n.ladder, ladder_at = to_timestamp(n.ladder_at), probing = n.probing,
    reported_remaining = n.reported_remaining, reported_reset_at = to_timestamp(n.reported_reset_at),
    updated_at = clock_timestamp()
FROM jsonb_to_recordset(%s::jsonb) AS n(
    id bigint, disabled_till double precision, disabled_reason text, dead boolean, dead_reason text, denied text[],
    ladder smallint, ladder_at double precision, probing boolean, reported_remaining integer, reported_reset_at double precision)
WHERE c.id = n.id
"""
SAVE_BREAKERS = """
INSERT INTO breaker (platform, source, operation, kind, in_a_row, window_start, calls, failures, trips, open_until, probing)
SELECT %s, n.source, n.operation, n.kind, n.in_a_row, to_timestamp(n.window_start), n.calls, n.failures, n.trips,
       to_timestamp(n.open_until), n.probing
FROM jsonb_to_recordset(%s::jsonb) AS n(
    source text, operation text, kind text, in_a_row integer, window_start double precision, calls integer, failures integer,
    trips integer, open_until double precision, probing boolean)
ON CONFLICT (platform, source, operation, kind) DO UPDATE SET
    in_a_row = excluded.in_a_row, window_start = excluded.window_start, calls = excluded.calls, failures = excluded.failures,
    trips = excluded.trips, open_until = excluded.open_until, probing = excluded.probing
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
SAVE_EVENTS = """
INSERT INTO credential_event (credential_id, kind, until, cause)
SELECT n.credential_id, n.kind, to_timestamp(n.until), n.cause
FROM jsonb_to_recordset(%s::jsonb) AS n(credential_id bigint, kind text, until double precision, cause jsonb)
"""


async def lock(transaction: Transaction, platform: str) -> None:
    """Serialize with every other turn of the platform, cluster-wide, until the transaction ends.

    A statement of its own: what is read in the same statement would be as old as the wait for the lock.
    """
    await transaction.run("SELECT pg_advisory_xact_lock(hashtext('beat.broker'), hashtext(%s))", (platform,))


async def load_snapshot(transaction: Transaction, platform: Platform, *, budgets: Budgets | None = None) -> Snapshot:
    """The platform's whole state. For a turn, take the platform's lock first."""
    now = float(await transaction.value("SELECT extract(epoch FROM clock_timestamp())::double precision"))
    credentials = {}
    for row in await transaction.rows(CREDENTIALS, (platform.name,)):
        fields = row._asdict()
        fields["denied"] = frozenset(fields["denied"])
        credentials[row.id] = Credential(**fields)
    breakers: dict[BreakerKey, Breaker] = {}
    for row in await transaction.rows(BREAKERS, (platform.name,)):
        fields = row._asdict()
        key = (fields.pop("source"), fields.pop("operation"), fields.pop("kind"))
        breakers[key] = Breaker(**fields)
    lanes = await load_lanes(transaction, platform.name)
    limits = {name: source.limits for name, source in platform.sources.items()}
    windows = await _load_windows(transaction, credentials.values(), limits, now)
    many = {
        (source.name, operation): endpoint.many.size
        for source in platform.sources.values()
        for operation, endpoint in source.endpoints.items()
        if endpoint.many is not None
    }
    return Snapshot(now, credentials, breakers, lanes, windows, limits, budgets or Budgets(), many=many)


async def load_lanes(transaction: Transaction, platform: str) -> list[Lane]:
    rows = await transaction.rows(LANES, (platform,))
    return [Lane(row.id, row.operation, row.priority, tuple(row.sources), row.owner) for row in rows]


async def _load_windows(
    transaction: Transaction, credentials: Iterable[Credential], limits: dict[str, tuple[Limit, ...]], now: float
) -> dict[tuple[str, str], Window]:
    by_subject: dict[str, dict[str, Limit]] = {}
    for source, declared in limits.items():
        by_subject[f"source:{source}"] = {limit.name: limit for limit in declared if limit.scope == "source"}
    for credential in credentials:
        by_subject[f"credential:{credential.id}"] = {
            limit.name: limit for limit in limits.get(credential.source, ()) if limit.scope == "credential"
        }
    windows = {}
    for row in await transaction.rows(USAGE, ([subject for subject, known in by_subject.items() if known],)):
        limit = by_subject[row.subject].get(row.limit_name)
        if limit is not None:
            windows[row.subject, row.limit_name] = Window(row.subject, limit, now, row.head, row.counts)
    return windows


async def save_credentials(transaction: Transaction, credentials: Iterable[Credential]) -> None:
    changed = [
        {
            "id": c.id,
            "disabled_till": c.disabled_till,
            "disabled_reason": c.disabled_reason,
            "dead": c.dead,
            "dead_reason": c.dead_reason,
            "denied": sorted(c.denied),
            "ladder": c.ladder,
            "ladder_at": c.ladder_at,
            "probing": c.probing,
            "reported_remaining": c.reported_remaining,
            "reported_reset_at": c.reported_reset_at,
        }
        for c in credentials
        if c.changed
    ]
    if changed:
        await transaction.run(SAVE_CREDENTIALS, (jsonb(changed),))


async def save_breakers(
    transaction: Transaction, platform: str, breakers: Sequence[tuple[BreakerKey, Breaker]]
) -> None:
    rows = [
        {
            "source": source,
            "operation": operation,
            "kind": kind,
            "in_a_row": b.in_a_row,
            "window_start": b.window_start,
            "calls": b.calls,
            "failures": b.failures,
            "trips": b.trips,
            "open_until": b.open_until,
            "probing": b.probing,
        }
        for (source, operation, kind), b in breakers
    ]
    if rows:
        await transaction.run(SAVE_BREAKERS, (platform, jsonb(rows)))


async def save_windows(transaction: Transaction, windows: Iterable[Window]) -> None:
    rows = [
        {"subject": w.subject, "limit_name": w.limit.name, "head": w.head, "counts": w.counts}
        for w in windows
        if w.dirty
    ]
    if rows:
        await transaction.run(SAVE_USAGE, (jsonb(rows),))


async def count_calls(transaction: Transaction, calls: dict[int, int]) -> None:
    """Add to each credential's total, which is what the ledger is held against."""
    counted: list[tuple[Any, ...]] = [(credential_id, n) for credential_id, n in sorted(calls.items()) if n]
    if counted:
        await transaction.run(COUNT_CALLS, columns(counted, 2))


async def save_events(transaction: Transaction, events: Sequence[Happened]) -> None:
    rows = [
        {"credential_id": e.credential_id, "kind": e.kind, "until": e.until, "cause": dict(e.cause)} for e in events
    ]
    if rows:
        await transaction.run(SAVE_EVENTS, (jsonb(rows),))
