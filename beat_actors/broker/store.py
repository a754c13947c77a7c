"""How the broker's state is written back to PostgreSQL, where it changed; `loading` reads it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from beat_actors.broker.breaker import Breaker
from beat_actors.broker.state import BreakerKey, Checked, Credential, Happened, Settlement
from beat_actors.broker.windows import Window
from beat_actors.database import Pipeline, Statements, Transaction, arrays, jsonb
from beat_actors.platforms.interface import Outcome

SQL = Statements(__file__)
SAVE_CREDENTIALS = SQL("save_credentials")
SAVE_FULL = SQL("save_full")
SAVE_CHECKED = SQL("save_checked")
SAVE_BREAKERS = SQL("save_breakers")
SAVE_OWNERS_BREAKERS = SQL("save_owners_breakers")
SAVE_USAGE = SQL("save_usage")
COUNT_CALLS = SQL("count_calls")
COUNT_OUTCOMES = SQL("count_outcomes")
COUNT_REFUSALS = SQL("count_refusals")
SAVE_EVENTS = SQL("save_events")

Writer = Transaction | Pipeline


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
        await writer.run(SAVE_CREDENTIALS, {"rows": jsonb(changed), "ids": [each["id"] for each in changed]})


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
        await writer.run(SAVE_CHECKED, {"rows": jsonb(rows)})


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
            "opened_by": b.opened_by,
        }
        for (source, operation, kind, owner), b in breakers
    ]
    if everybodys := [row for row in rows if not row["owner"]]:
        await writer.run(SAVE_BREAKERS, {"platform": platform, "rows": jsonb(everybodys)})
    if owners := [row for row in rows if row["owner"]]:
        await writer.run(SAVE_OWNERS_BREAKERS, {"platform": platform, "rows": jsonb(owners)})


async def save_windows(writer: Writer, windows: Iterable[Window]) -> None:
    rows = []
    for window in windows:
        if window.dirty:
            head, counts = window.stored()
            rows.append({"subject": window.subject, "limit_name": window.limit.name, "head": head, "counts": counts})
    if rows:
        await writer.run(SAVE_USAGE, {"rows": jsonb(rows)})


async def count_calls(writer: Writer, calls: dict[int, int]) -> None:
    """Add to each credential's total, which is what the ledger is held against."""
    counted = {credential_id: n for credential_id, n in sorted(calls.items()) if n}
    if counted:
        await writer.run(COUNT_CALLS, {"ids": list(counted), "calls": list(counted.values())})


async def count_outcomes(writer: Writer, platform: str, settlements: Iterable[Settlement]) -> None:
    """Count the calls by source, operation and outcome, and those that came to no connection."""
    counted: dict[tuple[str, str, str], int] = {}
    for each in settlements:
        if each.credential_id and each.calls and each.outcome is not Outcome.UNUSED:
            key = (each.source, each.operation, each.outcome.value)
            counted[key] = counted.get(key, 0) + each.calls
    if counted:
        rows = [(*key, calls) for key, calls in sorted(counted.items())]
        await writer.run(
            COUNT_OUTCOMES, {"platform": platform, **arrays(rows, "sources", "operations", "outcomes", "calls")}
        )


async def count_refusals(writer: Writer, platform: str, settlements: Iterable[Settlement]) -> None:
    """Count the calls that were refused for a reason that no rule knows, by source and operation."""
    counted: dict[tuple[str, str], tuple[int, str]] = {}
    for each in settlements:
        if each.outcome is Outcome.REFUSED and each.calls:
            calls, _ = counted.get((each.source, each.operation), (0, ""))
            counted[each.source, each.operation] = (calls + each.calls, each.code)
    if counted:
        rows = [
            {"source": source, "operation": operation, "calls": calls, "code": code}
            for (source, operation), (calls, code) in sorted(counted.items())
        ]
        await writer.run(COUNT_REFUSALS, {"platform": platform, "rows": jsonb(rows)})


async def save_events(writer: Writer, platform: str, events: Sequence[Happened]) -> None:
    rows = [
        {"credential_id": e.credential_id, "kind": e.kind, "until": e.until, "cause": dict(e.cause)} for e in events
    ]
    if rows:
        await writer.run(SAVE_EVENTS, {"platform": platform, "rows": jsonb(rows)})
