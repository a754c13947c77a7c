"""What an outcome means for the credential; `moves` has what it means for the fetch, `outages` for the breakers. Pure."""

from random import Random

from beat_actors.broker.cooldown import CLEAN_HOUR, cool, cool_until_reset
from beat_actors.broker.moves import next_move
from beat_actors.broker.state import (
    Checked,
    Credential,
    Denial,
    Happened,
    Plan,
    Settlement,
    Snapshot,
)
from beat_actors.broker.windows import LATE, Window, calendar_day
from beat_actors.credentials.health import BRAND_NEW, LEARNED, next_check, next_look
from beat_actors.platforms.interface import CHECK, FINAL, NOT_SENT, REFRESH, UPKEEP, Outcome

ANSWERED = FINAL | {Outcome.OK, Outcome.AMBIGUOUS, Outcome.UNSEEN, Outcome.REFUSED, Outcome.TOO_MUCH}
MAY = frozenset({Outcome.OK, Outcome.MISSING, Outcome.PRIVATE, Outcome.UNSEEN})
"""After one of these the provider is seen to let the credential do the operation."""


def settle(snapshot: Snapshot, settlement: Settlement, plan: Plan, rng: Random) -> None:
    """Apply one settlement to the snapshot, and add what follows for its fetch to the plan. `outages.judge` comes before it."""
    credential = snapshot.credentials.get(settlement.credential_id)
    if credential is not None:
        _credential(snapshot, credential, settlement, plan, rng)
    if settlement.fetch is not None and settlement.outcome is not Outcome.OK:
        plan.moves.append(next_move(snapshot, settlement, settlement.fetch, rng))


def _credential(snapshot: Snapshot, credential: Credential, settlement: Settlement, plan: Plan, rng: Random) -> None:
    outcome = settlement.outcome
    if outcome in NOT_SENT:
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
        _checked(snapshot, credential, settlement, plan, rng)
    cause = {
        "source": settlement.source,
        "operation": settlement.operation,
        "code": settlement.code,
        "detail": settlement.detail,
    }
    if outcome in MAY and settlement.probe and settlement.operation in credential.denied:
        _allow(credential, settlement, plan, cause)
    if outcome is Outcome.OK and credential.unproven and settlement.operation in UPKEEP:
        _prove(snapshot, credential, settlement, plan)
    if outcome is Outcome.QUOTA_EXHAUSTED and (days := _own_days(snapshot, settlement)):
        for day in days:
            if day.fill(_sent(snapshot, settlement)):
                spent = {**cause, "limit": day.limit.name}
                plan.events.append(Happened(credential.id, outcome.value, day.next_room(), spent))
    elif outcome in (Outcome.RATE_LIMITED, Outcome.QUOTA_EXHAUSTED):
        _cool_down(snapshot, credential, settlement, plan, rng)
    elif outcome is Outcome.CREDENTIAL_DEAD and (not credential.dead or credential.unproven):
        _dead(snapshot, credential, settlement, plan, cause, rng)
    elif outcome is Outcome.PERMISSION_MISSING and settlement.operation not in UPKEEP:
        _deny(snapshot, credential, settlement, plan, cause, rng)
    elif outcome in ANSWERED and settlement.probe and credential.needs_probe(snapshot.now):
        credential.disabled_till, credential.disabled_reason, credential.changed = None, None, True
        plan.events.append(Happened(credential.id, "recovered", None, cause))


def _deny(
    snapshot: Snapshot, credential: Credential, settlement: Settlement, plan: Plan, cause: dict[str, str], rng: Random
) -> None:
    """The provider does not let the credential do the operation. A person can grant it, and none may tell Beat: it is tried again later, less
    and less often."""
    operation, is_known = settlement.operation, settlement.operation in credential.denied
    if is_known and not settlement.probe:
        return  # calls that were in flight together with the one that was refused say nothing new
    looks = credential.denials[operation].looks + 1 if is_known and operation in credential.denials else 0
    denial = Denial(looks, next_look(looks, snapshot.now, rng.random()), settlement.detail or settlement.code)
    credential.denied |= {operation}
    credential.denials = {**credential.denials, operation: denial}
    credential.changed = True
    if not is_known:
        plan.events.append(Happened(credential.id, "denied", denial.at, cause))


def _allow(credential: Credential, settlement: Settlement, plan: Plan, cause: dict[str, str]) -> None:
    credential.denied -= {settlement.operation}
    credential.denials = {name: one for name, one in credential.denials.items() if name != settlement.operation}
    credential.changed = True
    plan.events.append(Happened(credential.id, "allowed", None, cause))


def _checked(snapshot: Snapshot, credential: Credential, settlement: Settlement, plan: Plan, rng: Random) -> None:
    outcome = settlement.outcome
    facts = settlement.facts if outcome in (Outcome.OK, Outcome.CREDENTIAL_DEAD) else None
    at = snapshot.now if settlement.at is None else min(settlement.at, snapshot.now)
    # A check that was out when the credential died does not bring the checks of the dead back, nor put its next look off.
    over = credential.dead and not credential.unproven
    next_at = None if over else next_check(outcome, facts, snapshot.now, snapshot.check_every, rng.random())
    if not over and _began_alive(credential, settlement):
        next_at = next_look(max(credential.looks - 1, 0), snapshot.now, rng.random())
    elif outcome not in LEARNED and not credential.dead:
        next_at = _probe_at(snapshot, settlement, plan) or next_at
    said = "" if outcome is Outcome.OK else settlement.detail or settlement.code
    plan.checked.append(Checked(settlement.credential_id, at, outcome.value, said, next_at, facts))


def _probe_at(snapshot: Snapshot, settlement: Settlement, plan: Plan) -> float | None:
    """When the breaker of the source's checks can be probed, if this turn opened it: only a check probes it, and the next ones are due long after. One
    credential is checked at that time, so each pause of the breaker costs one check."""
    key = (settlement.source, CHECK, "upstream", settlement.owner)
    breaker = snapshot.breakers.get(key)
    if breaker is None or breaker.open_until is None or breaker.since != snapshot.now or key in plan.probe_checks:
        return None
    plan.probe_checks.add(key)
    return breaker.open_until


def _began_alive(credential: Credential, settlement: Settlement) -> bool:
    """Whether a call was out when the credential died, so that it says nothing of whether it lives again."""
    return (
        credential.dead_since is not None and settlement.began is not None and settlement.began < credential.dead_since
    )


def _prove(snapshot: Snapshot, credential: Credential, settlement: Settlement, plan: Plan) -> None:
    """A dead credential works, its new secret or the one that was refused. Where the source has a check, a refresh alone does not show that."""
    if settlement.operation == REFRESH and credential.source in snapshot.checks:
        return
    if _began_alive(credential, settlement):
        return
    credential.dead, credential.dead_reason, credential.unproven, credential.changed = False, None, False, True
    credential.looks, credential.look_at = 0, None
    plan.events.append(Happened(credential.id, "revived", None, {"operation": settlement.operation}))


def _dead(
    snapshot: Snapshot, credential: Credential, settlement: Settlement, plan: Plan, cause: dict[str, str], rng: Random
) -> None:
    """The provider does not take the secret. One that can be refreshed is given that chance before; one that can be checked or refreshed is
    looked at again later, less and less often."""
    credential.changed = True
    brand_new = credential.refreshed_at is not None and snapshot.now - credential.refreshed_at < BRAND_NEW
    if credential.refreshes and settlement.operation != REFRESH and not brand_new and not credential.unproven:
        if not credential.is_stale(snapshot.now):
            credential.refused, credential.good_until = True, snapshot.now
            plan.events.append(Happened(credential.id, "refused", None, cause))
        return
    credential.dead, credential.unproven = True, False
    credential.dead_reason = settlement.detail or settlement.code
    if credential.source in snapshot.checks or credential.refreshes:
        credential.look_at = next_look(credential.looks, snapshot.now, rng.random())
    if credential.looks == 0:
        plan.events.append(Happened(credential.id, "dead", credential.look_at, cause))
    credential.looks += 1


def _cool_down(snapshot: Snapshot, credential: Credential, settlement: Settlement, plan: Plan, rng: Random) -> None:
    standing = credential.disabled_till
    if standing is not None and standing > snapshot.now and not settlement.probe:
        # Calls that were out together with the one that was refused say nothing new, unless they name a later time.
        said = snapshot.now + (settlement.retry_after or 0.0)
        if said <= standing:
            return
        credential.disabled_till = credential.ladder_at = said
    elif settlement.outcome is Outcome.QUOTA_EXHAUSTED:
        reset = settlement.retry_after or _calendar_reset(snapshot, settlement) or CLEAN_HOUR
        cooldown = cool_until_reset(
            standing=standing, reset=reset, step=credential.ladder, now=snapshot.now, chance=rng.random()
        )
        credential.disabled_till = credential.ladder_at = cooldown.until
    else:
        cooldown = cool(
            standing=standing,
            said=settlement.retry_after,
            step=credential.ladder,
            since=credential.ladder_at,
            now=snapshot.now,
            chance=rng.random(),
        )
        credential.disabled_till = credential.ladder_at = cooldown.until
        credential.ladder = cooldown.step
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
    """The daily quotas that the operation shares with some others only: when they are used up, the credential goes on with the other operations.

    None in the day's first minutes, when what is spent may be the day before's.
    """
    at = _sent(snapshot, settlement)
    windows = snapshot.windows_of(settlement.credential_id, settlement.source, settlement.operation)
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
    for window in snapshot.windows_of(settlement.credential_id, settlement.source, settlement.operation):
        window.charge(_sent(snapshot, settlement), settlement.calls)


def _sent(snapshot: Snapshot, settlement: Settlement) -> float:
    return snapshot.now if settlement.at is None else min(settlement.at, snapshot.now)


def _return(credential: Credential, settlement: Settlement) -> None:
    """The lease was never used: what the provider said to be left is left."""
    if credential.reported_remaining is not None:
        credential.reported_remaining += settlement.calls
        credential.changed = True
