"""What an outcome means: for the credential, for the breakers, and for the fetch. Pure."""

from dataclasses import replace
from random import Random

from beat_actors.credentials.breaker import Breaker
from beat_actors.credentials.cooldown import CLEAN_HOUR, cool, cool_until_reset
from beat_actors.credentials.life import BRAND_NEW, next_check
from beat_actors.credentials.limits import LATE, Window, calendar_day
from beat_actors.credentials.state import (
    BreakerKey,
    Checked,
    Credential,
    Fail,
    Fetch,
    Happened,
    Plan,
    Settlement,
    Snapshot,
    Wait,
)
from beat_actors.platforms.interface import CHECK, FINAL, REFRESH, UPKEEP, Outcome

ANSWERED = FINAL | {Outcome.OK, Outcome.DOUBTFUL, Outcome.UNSEEN}
ROTATES = frozenset(
    {
        Outcome.RATE_LIMITED,
        Outcome.QUOTA_EXHAUSTED,
        Outcome.CREDENTIAL_DEAD,
        Outcome.PERMISSION_MISSING,
        Outcome.UNKNOWN,
        Outcome.DOUBTFUL,
    }
)
MEANING = {
    Outcome.MISSING: "it does not exist",
    Outcome.PRIVATE: "it is not public",
    Outcome.BAD_REQUEST: "it cannot be asked for like this",
}
BACKOFF = 5.0
BACKOFF_AT_MOST = 300.0
# Until then a credential that could not be asked will have been.
DOUBT = 60.0


def settle(snapshot: Snapshot, settlement: Settlement, plan: Plan, rng: Random) -> None:
    """Apply one settlement to the snapshot, and add what follows for its fetch to the plan."""
    _breakers(snapshot, settlement, plan)
    credential = snapshot.credentials.get(settlement.credential_id)
    if credential is not None:
        _credential(snapshot, credential, settlement, plan, rng)
    if settlement.fetch is not None and settlement.outcome is not Outcome.OK:
        plan.moves.append(next_move(snapshot, settlement, settlement.fetch, rng))


def next_move(snapshot: Snapshot, settlement: Settlement, fetch: Fetch, rng: Random) -> Wait | Fail:
    """Where a fetch goes after its call: another credential, the next source, a pause, or its end."""
    outcome = settlement.outcome
    if outcome is Outcome.UNSEEN and not _others(snapshot, settlement, fetch):
        outcome = Outcome.MISSING
    if outcome in FINAL:
        return Fail(
            fetch.id,
            outcome.value,
            f"{fetch.source} says that {MEANING[outcome]} ({settlement.code or settlement.detail})",
        )
    carried = settlement.probe and outcome not in (Outcome.MALFORMED, Outcome.UNSEEN)
    if outcome is Outcome.UNUSED or carried:
        # A probe is the broker's business: what it finds out is not charged to the fetch that carried it.
        return _wait(fetch, fetch.excluded, fetch.unreadable, fetch.rotations, fetch.retries, why=outcome.value)
    rotations = fetch.rotations + 1
    if rotations > snapshot.budgets.rotations:
        return Fail(
            fetch.id,
            "exhausted",
            f"given up after {fetch.rotations} changes of credential or source; {_last(settlement)}",
        )
    if outcome in ROTATES:
        delay = DOUBT * (1 + rng.random() * 0.2) if outcome is Outcome.DOUBTFUL else 0.0
        return _wait(fetch, fetch.excluded, fetch.unreadable, rotations, fetch.retries, delay=delay, why=outcome.value)
    excluded, unreadable = fetch.excluded, fetch.unreadable
    if outcome in (Outcome.MALFORMED, Outcome.UNSEEN):
        unreadable = (*unreadable, fetch.source)
    else:
        excluded = (*excluded, fetch.source)
    readable = [source for source in fetch.chain if source not in unreadable]
    if any(source not in excluded for source in readable):
        return _wait(fetch, excluded, unreadable, rotations, fetch.retries, why=outcome.value)
    return _chain_spent(snapshot, settlement, fetch, unreadable, rotations, rng)


def _chain_spent(
    snapshot: Snapshot, settlement: Settlement, fetch: Fetch, unreadable: tuple[str, ...], rotations: int, rng: Random
) -> Wait | Fail:
    """Every source has been asked. A listing may start anew elsewhere; otherwise pause, and go round again."""
    if len(unreadable) >= len(fetch.chain) and fetch.cursor_source is None:
        return Fail(
            fetch.id, Outcome.MALFORMED.value, f"no source gave an answer that can be read; {_last(settlement)}"
        )
    retries = fetch.retries + 1
    lost = retries > snapshot.budgets.retries or fetch.source in unreadable
    if fetch.cursor_source is not None and (lost or (_rests(snapshot, settlement) and not fetch.alone)):
        # The cursor is worth nothing elsewhere: list from the first page at the other sources. Upserts make that harmless.
        return Wait(fetch.id, (fetch.source,), (), rotations, 0, why="cursor lost", drop_cursor=True)
    if retries > snapshot.budgets.retries:
        return Fail(
            fetch.id, "exhausted", f"given up after {fetch.retries} rounds over every source; {_last(settlement)}"
        )
    delay = min(BACKOFF * 2 ** (retries - 1), BACKOFF_AT_MOST) * (1 + rng.random() * 0.2)
    return _wait(fetch, (), unreadable, rotations, retries, delay=delay, why=settlement.outcome.value)


def _others(snapshot: Snapshot, settlement: Settlement, fetch: Fetch) -> bool:
    """Whether a source is left that may see what this one does not, and a credential to ask it with."""
    left = set(fetch.chain) - {fetch.source, *fetch.unreadable}
    return any(
        each.source in left and each.enabled and not each.dead and settlement.operation not in each.denied
        for each in snapshot.credentials.values()
    )


def _rests(snapshot: Snapshot, settlement: Settlement) -> bool:
    """Whether the source that failed is given a rest in this operation, so that waiting for it would be waiting for an outage's end."""
    breaker = snapshot.breakers.get((settlement.source, settlement.operation, "upstream"))
    return breaker is not None and breaker.is_open(snapshot.now)


def _wait(
    fetch: Fetch,
    excluded: tuple[str, ...],
    unreadable: tuple[str, ...],
    rotations: int,
    retries: int,
    *,
    delay: float = 0.0,
    why: str,
) -> Wait:
    return Wait(fetch.id, excluded, unreadable, rotations, retries, delay=delay, why=why)


def _last(settlement: Settlement) -> str:
    said = f" ({settlement.code})" if settlement.code else ""
    return f"the last call, to {settlement.source}, came to {settlement.outcome.value}{said}"


def _breakers(snapshot: Snapshot, settlement: Settlement, plan: Plan) -> None:
    judged = settlement.outcome not in (Outcome.UNKNOWN, Outcome.UNUSED)
    # What comes back from a check or a refresh has no parser of its own: all of it is the source's.
    parser = settlement.outcome in (Outcome.PARSED, Outcome.MALFORMED) and settlement.operation not in UPKEEP
    if judged:
        key = (settlement.source, settlement.operation, "parser" if parser else "upstream")
        before = snapshot.breakers.get(key, Breaker())
        down = settlement.outcome in (Outcome.UPSTREAM_DOWN, Outcome.MALFORMED)
        change = before.failed if down else before.succeeded
        snapshot.breakers[key] = change(settlement.calls, snapshot.now, probe=settlement.probe)
        plan.touched_breakers.add(key)
    if settlement.probe and settlement.outcome is not Outcome.OK and not parser:
        # No answer came that a parser could judge, so its probe is still to be made.
        for kind in ("upstream", "parser"):
            _release_probe(snapshot, (settlement.source, settlement.operation, kind), plan)


def _release_probe(snapshot: Snapshot, key: BreakerKey, plan: Plan) -> None:
    breaker = snapshot.breakers.get(key)
    if breaker is not None and breaker.probing:
        snapshot.breakers[key] = replace(breaker, probing=False)
        plan.touched_breakers.add(key)


def _credential(snapshot: Snapshot, credential: Credential, settlement: Settlement, plan: Plan, rng: Random) -> None:
    outcome = settlement.outcome
    if outcome is Outcome.UNUSED:
        _return(credential, settlement)
    else:
        _charge(snapshot, settlement)
    if settlement.probe and credential.probing:
        credential.probing = False
        credential.changed = True
    if settlement.generation is not None and settlement.generation != credential.generation:
        return  # its secret was changed since, and what the old one brought says nothing of the new one
    _report(snapshot, credential, settlement)
    if settlement.operation == CHECK and outcome not in (Outcome.UNUSED, Outcome.UNKNOWN):
        _checked(snapshot, settlement, plan, rng)
    cause = {
        "source": settlement.source,
        "operation": settlement.operation,
        "code": settlement.code,
        "detail": settlement.detail,
    }
    if outcome is Outcome.OK and credential.unproven and settlement.operation in UPKEEP:
        _prove(snapshot, credential, settlement, plan)
    if outcome is Outcome.QUOTA_EXHAUSTED and (days := _own_days(snapshot, settlement)):
        for day in days:
            if day.fill(_sent(snapshot, settlement)):
                spent = {**cause, "limit": day.limit.name}
                plan.events.append(Happened(credential.id, outcome.value, day.next_room(), spent))
    elif outcome in (Outcome.RATE_LIMITED, Outcome.QUOTA_EXHAUSTED):
        _rest(snapshot, credential, settlement, plan, rng)
    elif outcome is Outcome.CREDENTIAL_DEAD and (not credential.dead or credential.unproven):
        _dead(snapshot, credential, settlement, plan, cause)
    elif outcome is Outcome.PERMISSION_MISSING and settlement.operation not in credential.denied | UPKEEP:
        credential.denied |= {settlement.operation}
        credential.changed = True
        plan.events.append(Happened(credential.id, "denied", None, cause))
    elif outcome in ANSWERED and settlement.probe and credential.needs_probe(snapshot.now):
        credential.disabled_till, credential.disabled_reason, credential.changed = None, None, True
        plan.events.append(Happened(credential.id, "recovered", None, cause))


def _checked(snapshot: Snapshot, settlement: Settlement, plan: Plan, rng: Random) -> None:
    outcome = settlement.outcome
    facts = settlement.facts if outcome in (Outcome.OK, Outcome.CREDENTIAL_DEAD) else None
    at = snapshot.now if settlement.at is None else min(settlement.at, snapshot.now)
    next_at = next_check(outcome, facts, snapshot.now, snapshot.check_every, rng.random())
    said = "" if outcome is Outcome.OK else settlement.detail or settlement.code
    plan.checked.append(Checked(settlement.credential_id, at, outcome.value, said, next_at, facts))


def _prove(snapshot: Snapshot, credential: Credential, settlement: Settlement, plan: Plan) -> None:
    """A dead credential's new secret works. Where the source has a check, a refresh alone does not show that."""
    if settlement.operation == REFRESH and credential.source in snapshot.checks:
        return
    credential.dead, credential.dead_reason, credential.unproven, credential.changed = False, None, False, True
    plan.events.append(Happened(credential.id, "revived", None, {"operation": settlement.operation}))


def _dead(
    snapshot: Snapshot, credential: Credential, settlement: Settlement, plan: Plan, cause: dict[str, str]
) -> None:
    """The provider does not take the secret any more. One that can be refreshed is given that chance before."""
    credential.changed = True
    brand_new = credential.refreshed_at is not None and snapshot.now - credential.refreshed_at < BRAND_NEW
    if credential.refreshes and settlement.operation != REFRESH and not brand_new and not credential.unproven:
        if not credential.is_stale(snapshot.now):
            credential.refused, credential.good_until = True, snapshot.now
            plan.events.append(Happened(credential.id, "refused", None, cause))
        return
    credential.dead, credential.unproven = True, False
    credential.dead_reason = settlement.detail or settlement.code
    plan.events.append(Happened(credential.id, "dead", None, cause))


def _rest(snapshot: Snapshot, credential: Credential, settlement: Settlement, plan: Plan, rng: Random) -> None:
    standing = credential.disabled_till
    if standing is not None and standing > snapshot.now and not settlement.probe:
        # Calls that were out together with the one that was refused say nothing new, unless they name a later time.
        said = snapshot.now + (settlement.retry_after or 0.0)
        if said <= standing:
            return
        credential.disabled_till = credential.ladder_at = said
    elif settlement.outcome is Outcome.QUOTA_EXHAUSTED:
        reset = settlement.retry_after or _calendar_reset(snapshot, settlement) or CLEAN_HOUR
        rest = cool_until_reset(
            standing=standing, reset=reset, ladder=credential.ladder, now=snapshot.now, chance=rng.random()
        )
        credential.disabled_till = credential.ladder_at = rest.until
    else:
        rest = cool(
            standing=standing,
            said=settlement.retry_after,
            ladder=credential.ladder,
            since=credential.ladder_at,
            now=snapshot.now,
            chance=rng.random(),
        )
        credential.disabled_till = credential.ladder_at = rest.until
        credential.ladder = rest.ladder
    credential.disabled_reason = f"{settlement.outcome.value} {settlement.code}".strip()
    credential.changed = True
    cause = {
        "code": settlement.code,
        "detail": settlement.detail,
        "said": settlement.retry_after,
        "ladder": credential.ladder,
    }
    plan.events.append(Happened(credential.id, settlement.outcome.value, credential.disabled_till, cause))


def _own_days(snapshot: Snapshot, settlement: Settlement) -> list[Window]:
    """The daily quotas that the operation shares with some others only: when they are spent, the credential goes on with the rest.

    None in the day's first minutes, when what is spent may be the day before's.
    """
    at = _sent(snapshot, settlement)
    windows = windows_of(snapshot, settlement.credential_id, settlement.source, settlement.operation)
    return [w for w in windows if w.limit.calendar and w.limit.operations is not None and at >= w.head + LATE]


def _calendar_reset(snapshot: Snapshot, settlement: Settlement) -> float | None:
    """Seconds until the provider's midnight; after a refusal in the day's first minutes, until they are over."""
    zones = [limit.calendar for limit in snapshot.limits.get(settlement.source, ()) if limit.calendar]
    if not zones:
        return None
    start, end = calendar_day(zones[0], snapshot.now)
    is_young = _sent(snapshot, settlement) < start + LATE
    return max(start + LATE - snapshot.now, 1.0) if is_young else end - snapshot.now


def _report(snapshot: Snapshot, credential: Credential, settlement: Settlement) -> None:
    """The provider's own count may only lower what is left, until the reset that it names."""
    if settlement.reported_remaining is None or settlement.reported_reset is None:
        return
    reset_at = snapshot.now + settlement.reported_reset
    known_until = credential.reported_reset_at
    same_period = known_until is not None and known_until > snapshot.now and credential.reported_remaining is not None
    remaining = settlement.reported_remaining
    if same_period and credential.reported_remaining is not None:
        remaining = min(remaining, credential.reported_remaining)
        reset_at = known_until if known_until is not None else reset_at
    if (remaining, reset_at) != (credential.reported_remaining, credential.reported_reset_at):
        credential.reported_remaining, credential.reported_reset_at = remaining, reset_at
        credential.changed = True


def _charge(snapshot: Snapshot, settlement: Settlement) -> None:
    """The call was made: from now on it counts by the time at which it was sent."""
    for window in windows_of(snapshot, settlement.credential_id, settlement.source, settlement.operation):
        window.charge(_sent(snapshot, settlement), settlement.calls)


def _sent(snapshot: Snapshot, settlement: Settlement) -> float:
    return snapshot.now if settlement.at is None else min(settlement.at, snapshot.now)


def _return(credential: Credential, settlement: Settlement) -> None:
    """The lease was never used: what the provider said to be left is left."""
    if credential.reported_remaining is not None:
        credential.reported_remaining += settlement.calls
        credential.changed = True


def windows_of(snapshot: Snapshot, credential_id: int, source: str, operation: str) -> list[Window]:
    """Every window that a call of this operation with this credential counts in."""
    return [
        snapshot.window(subject_of(limit.scope, credential_id, source), limit)
        for limit in snapshot.limits.get(source, ())
        if limit.operations is None or operation in limit.operations
    ]


def subject_of(scope: str, credential_id: int, source: str) -> str:
    return f"credential:{credential_id}" if scope == "credential" else f"source:{source}"
