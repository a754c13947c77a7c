"""What the checks and refreshes of a credential mean, and when the next is due. Pure. Times are epoch seconds."""

from dataclasses import replace

from beat_actors.broker.state import Facts
from beat_actors.platforms.interface import FINAL, Health, Outcome, Verdict

# Nothing was learned: asked again soon, and not at once, because whatever stands in the way does so for the others too.
AGAIN = 300.0
# A look shortly before a known end shows whether it still stands, and one after it that it has come.
BEFORE_END = 3600.0
SPREAD = 0.1
# Seconds after which a dead credential is looked at again, the last for ever after. The first is soon: what a provider refuses for some
# minutes is not dead, and one refusal is not believed for good.
LOOKS = (60.0, 600.0, 3600.0, 21_600.0, 86_400.0, 259_200.0)
LOOK_LASTS = 120.0
"""Seconds within which the call has ended that looks whether a credential may do now what it might not. Where nothing is heard of it, another is let through."""
REFRESH_AFTER = 0.8
# A secret that is refused although it was got so recently is not refused for its age.
BRAND_NEW = 300.0
LEARNED = FINAL | {Outcome.OK, Outcome.CREDENTIAL_DEAD, Outcome.PERMISSION_MISSING}


def next_check(outcome: Outcome, facts: Facts | None, now: float, every: float, chance: float) -> float:
    """`every` in seconds; `chance` (0..1) keeps credentials that were added together from being checked together."""
    spread = 1 + SPREAD * (2 * chance - 1)
    if outcome not in LEARNED:
        return now + min(AGAIN, every) * spread
    ends = facts.ends if facts is not None else []
    looks = [look for end in ends for look in (end - BEFORE_END, end + 1.0) if look > now]
    return min([now + every * spread, *looks])


def next_look(looks: int, now: float, chance: float) -> float:
    """When a dead credential, or an operation that the provider does not let one do, is looked at again that was looked at so often."""
    return now + LOOKS[min(looks, len(LOOKS) - 1)] * (1 + SPREAD * chance)


def next_refresh(seconds: float, chance: float) -> float:
    """Seconds after which a secret that is good for `seconds` is refreshed."""
    return seconds * (REFRESH_AFTER - SPREAD * chance)


def verdict_of(health: Health, now: float) -> Verdict:
    """A check's verdict. A token that opens its user's data no longer is of no use, alive as it may be."""
    end = health.data_access_expires_at
    if health.verdict.outcome is not Outcome.OK or end is None or end.timestamp() > now:
        return health.verdict
    said = f"its access to its user's data ended on {end:%Y-%m-%d}: the user has to log in again"
    return replace(health.verdict, outcome=Outcome.CREDENTIAL_DEAD, code="data access", detail=said)


def verified(verdict: Verdict, health: Health | None, needed: frozenset[str]) -> Verdict:
    """What an ambiguous verdict comes to, now that the credential's check was asked (`None`: it could not be)."""
    found = health.verdict.outcome if health is not None else None
    if health is None or found not in (Outcome.OK, Outcome.CREDENTIAL_DEAD):
        return replace(verdict, outcome=Outcome.AMBIGUOUS)
    if found is Outcome.CREDENTIAL_DEAD:
        return replace(verdict, outcome=found, detail=health.verdict.detail, ambiguous=False)
    if verdict.outcome is Outcome.CREDENTIAL_DEAD:  # the check went well with the same secret
        return replace(verdict, outcome=Outcome.REFUSED, ambiguous=False)
    lacking = needed - health.scopes if health.scopes is not None else frozenset()
    if lacking:
        said = f"it was not granted {', '.join(sorted(lacking))}"
        return replace(verdict, outcome=Outcome.PERMISSION_MISSING, detail=said, ambiguous=False)
    return replace(verdict, ambiguous=False)
