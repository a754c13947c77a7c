"""How long a credential rests after the provider refused it. Pure.

The rest is the longest of: what already stands, what the provider said, and the ladder. It is never shortened by a later
event, and stretched a little at random so that credentials that fell together do not come back together.
"""

from dataclasses import dataclass

LADDER = (600.0, 1800.0, 3600.0)
CLEAN_HOUR = 3600.0
# A provider that says "wait two seconds" is pacing us, not refusing the credential: the first such pause is taken at its
# word, and only a second one close behind it climbs the ladder.
PAUSE = 30.0
CLOSE_BEHIND = 60.0
STRETCH = 0.2
STRETCH_AT_MOST = 60.0


@dataclass(frozen=True, slots=True)
class Cooldown:
    """`until` in epoch seconds, and the step of the ladder that stands from now on."""

    until: float
    ladder: int


def step_now(ladder: int, since: float | None, now: float) -> int:
    """The ladder falls by one step for each clean hour since the last rest ended."""
    if since is None or now <= since:
        return ladder
    return max(0, ladder - int((now - since) // CLEAN_HOUR))


def cool(
    *, standing: float | None, said: float | None, ladder: int, since: float | None, now: float, chance: float
) -> Cooldown:
    """`standing`: the end of the rest in force or last ended; `said`: the provider's wait in seconds; `chance`: 0..1."""
    step = step_now(ladder, since, now)
    recent = since is not None and now - since < CLOSE_BEHIND
    if said is not None and said <= PAUSE and step == 0 and not recent:
        rest = said
    else:
        rest = max(said or 0.0, LADDER[min(step, len(LADDER) - 1)])
        step = min(step + 1, len(LADDER))
    rest += chance * min(rest * STRETCH, STRETCH_AT_MOST)
    return Cooldown(max(standing or 0.0, now + rest), step)


def cool_until_reset(*, standing: float | None, reset: float, ladder: int, now: float, chance: float) -> Cooldown:
    """A spent quota rests until the provider's reset (seconds from now); that is no offence, so the ladder stays."""
    return Cooldown(max(standing or 0.0, now + reset + chance * min(reset * STRETCH, STRETCH_AT_MOST)), ladder)
