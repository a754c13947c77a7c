"""How the broker's state lies in PostgreSQL: loaded whole for one platform, written back where it changed."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from beat_actors.credentials.breaker import Breaker
from beat_actors.credentials.limits import Window
from beat_actors.credentials.settle import windows_of
from beat_actors.credentials.state import BreakerKey, Budgets, Checked, Credential, Happened, Lane, Snapshot
from beat_actors.database import Transaction, columns, jsonb
from beat_actors.platforms.interface import Limit, Platform

CREDENTIALS = """
SELECT id, source, owner, weight, enabled, extract(epoch FROM disabled_till)::double precision AS disabled_till,
       dead_at IS NOT NULL AS dead, denied, ladder, extract(epoch FROM ladder_at)::double precision AS ladder_at, probing,
       reported_remaining, extract(epoch FROM reported_reset_at)::double precision AS reported_reset_at,
       disabled_reason, dead_reason, generation, refreshes,
       dead_at IS NOT NULL AND (check_at IS NOT NULL OR refresh_at IS NOT NULL) AS unproven,
       CASE WHEN refreshes THEN extract(epoch FROM expires_at)::double precision END AS good_until,
       extract(epoch FROM refreshed_at)::double precision AS refreshed_at
FROM credential WHERE platform = %s ORDER BY id
"""
# Calls that are out. To be read before the settlements are taken: what comes back in between then counts twice for one turn,
# and never not at all.
HELD = """
SELECT l.flow, f.source, f.operation, f.credential_id, count(*) FILTER (WHERE f.call_of IS NULL) AS calls
FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id WHERE f.platform = %(platform)s AND f.stage = 'LEASED' GROUP BY 1, 2, 3, 4
UNION ALL SELECT '', source, operation, credential_id, 1 FROM credential_call WHERE platform = %(platform)s
"""
# Calls that came back, and are charged by nobody yet.
UNTAKEN = """
SELECT '' AS flow, source, operation, credential_id, sum(calls)::integer AS calls
FROM settlement WHERE platform = %(platform)s AND credential_id > 0 AND outcome <> 'unused' GROUP BY 1, 2, 3, 4
"""
BREAKERS = """
SELECT source, operation, kind, in_a_row, coalesce(extract(epoch FROM window_start), 0)::double precision AS window_start,
       calls, failures, trips, extract(epoch FROM open_until)::double precision AS open_until, probing, by_hand
FROM breaker WHERE platform = %s
"""
LANES = "SELECT id, operation, priority, sources, owner, flow FROM lane WHERE platform = %s ORDER BY id"
USAGE = (
    "SELECT subject, limit_name, head, counts FROM credential_usage WHERE subject = ANY(%s) AND limit_name <> 'total'"
)

# `disabled_till` only ever grows here: a rest that a person or another turn made longer is not shortened. The one write that
# clears it is a probe's success. What is dead is checked and refreshed no more, unless it waits for its new secret to be proven.
SAVE_CREDENTIALS = """
UPDATE credential c SET
    disabled_till = CASE WHEN n.disabled_till IS NULL THEN NULL ELSE greatest(c.disabled_till, to_timestamp(n.disabled_till)) END,
    disabled_reason = n.disabled_reason,
    dead_at = CASE WHEN n.dead THEN coalesce(c.dead_at, clock_timestamp()) END, dead_reason = n.dead_reason,
    denied = n.denied, ladder = n.ladder, ladder_at = to_timestamp(n.ladder_at), probing = n.probing,
    reported_remaining = n.reported_remaining, reported_reset_at = to_timestamp(n.reported_reset_at),
    check_at = CASE WHEN n.dead AND NOT n.unproven THEN NULL ELSE c.check_at END,
    refresh_at = CASE WHEN n.dead AND NOT n.unproven THEN NULL WHEN n.refused THEN clock_timestamp() ELSE c.refresh_at END,
    expires_at = CASE WHEN n.refused THEN to_timestamp(n.good_until) ELSE c.expires_at END,
    updated_at = clock_timestamp()
FROM jsonb_to_recordset(%s::jsonb) AS n(
    id bigint, disabled_till double precision, disabled_reason text, dead boolean, dead_reason text, denied text[],
    ladder smallint, ladder_at double precision, probing boolean, reported_remaining integer, reported_reset_at double precision,
    unproven boolean, refused boolean, good_until double precision)
WHERE c.id = n.id
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
INSERT INTO breaker (platform, source, operation, kind, in_a_row, window_start, calls, failures, trips, open_until, probing, by_hand)
SELECT %s, n.source, n.operation, n.kind, n.in_a_row, to_timestamp(n.window_start), n.calls, n.failures, n.trips,
       to_timestamp(n.open_until), n.probing, n.by_hand
FROM jsonb_to_recordset(%s::jsonb) AS n(
    source text, operation text, kind text, in_a_row integer, window_start double precision, calls integer, failures integer,
    trips integer, open_until double precision, probing boolean, by_hand boolean)
ON CONFLICT (platform, source, operation, kind) DO UPDATE SET
    in_a_row = excluded.in_a_row, window_start = excluded.window_start, calls = excluded.calls, failures = excluded.failures,
    trips = excluded.trips, open_until = excluded.open_until, probing = excluded.probing,
    by_hand = excluded.by_hand
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
    checks = frozenset(source.name for source in platform.sources.values() if source.check is not None)
    return Snapshot(now, credentials, breakers, lanes, windows, limits, budgets or Budgets(), many=many, checks=checks)


def hold(snapshot: Snapshot, rows: Iterable[Any]) -> None:
    """Take room for calls that are out, rows of HELD or UNTAKEN."""
    for row in rows:
        for window in windows_of(snapshot, row.credential_id, row.source, row.operation):
            window.hold(row.calls)


async def load_lanes(transaction: Transaction, platform: str) -> list[Lane]:
    rows = await transaction.rows(LANES, (platform,))
    return [Lane(row.id, row.operation, row.priority, tuple(row.sources), row.owner, row.flow) for row in rows]


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
            "unproven": c.unproven,
            "refused": c.refused,
            "good_until": c.good_until,
        }
        for c in credentials
        if c.changed
    ]
    if changed:
        await transaction.run(SAVE_CREDENTIALS, (jsonb(changed),))


async def save_checked(transaction: Transaction, checked: Sequence[Checked]) -> None:
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
        await transaction.run(SAVE_CHECKED, (jsonb(rows),))


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
            "by_hand": b.by_hand,
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
