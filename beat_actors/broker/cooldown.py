"""How long a credential cools down after the provider refused it. Pure.

A cooldown is the longest of three: what stands already, what the provider said, and the backoff. No later event shortens it. It is stretched
a little at random, so that credentials that were refused together do not come back together.
"""

from dataclasses import dataclass

BACKOFF = (600.0, 1800.0, 3600.0)
"""Seconds of the first cooldown, the second, and all that follow."""
CLEAN_HOUR = 3600.0
# A provider that says "wait two seconds" limits the rate of calls, and does not refuse the credential. The first wait that is as short as
# this is taken as the provider said it. A second one within `CLOSE_BEHIND` raises the backoff.
PAUSE = 30.0
CLOSE_BEHIND = 60.0
STRETCH = 0.2
STRETCH_AT_MOST = 60.0


@dataclass(frozen=True, slots=True)
class Cooldown:
    """`until` in epoch seconds, and the step of the backoff from now on."""

    until: float
    step: int


def step_now(step: int, since: float | None, now: float) -> int:
    """The backoff falls by one step for each hour without a refusal since the last cooldown ended."""
    if since is None or now <= since:
        return step
    return max(0, step - int((now - since) // CLEAN_HOUR))


def cool(
    *, standing: float | None, said: float | None, step: int, since: float | None, now: float, chance: float
) -> Cooldown:
    """`standing`: the end of the cooldown in force or last ended; `said`: the provider's wait in seconds; `chance`: 0..1."""
    step = step_now(step, since, now)
    recent = since is not None and now - since < CLOSE_BEHIND
    if said is not None and said <= PAUSE and step == 0 and not recent:
        seconds = said
    else:
        seconds = max(said or 0.0, BACKOFF[min(step, len(BACKOFF) - 1)])
        step = min(step + 1, len(BACKOFF))
    seconds += chance * min(seconds * STRETCH, STRETCH_AT_MOST)
    return Cooldown(max(standing or 0.0, now + seconds), step)


def cool_until_reset(*, standing: float | None, reset: float, step: int, now: float, chance: float) -> Cooldown:
    """With its quota used up, a credential cools down until the provider's reset (seconds from now). That is no refusal, so the backoff keeps
    its step."""
    return Cooldown(max(standing or 0.0, now + reset + chance * min(reset * STRETCH, STRETCH_AT_MOST)), step)
