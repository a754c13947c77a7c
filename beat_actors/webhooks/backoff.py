"""How long a failed delivery and a failing endpoint wait."""

import random

FAILURES = 5
"""Failures in a row after which an endpoint cools down and then gets one probe."""
FIRST, FACTOR, LONGEST = 10.0, 3.0, 14_400.0
COOLDOWN, LONGEST_COOLDOWN = 30.0, 3600.0


def delay(attempt: int) -> float:
    """Seconds to wait after this attempt failed: 10 s, 30 s, 90 s … up to 4 h, each a fifth shorter or longer by chance."""
    return min(FIRST * FACTOR ** min(attempt - 1, 10), LONGEST) * random.uniform(0.8, 1.2)


def open_seconds() -> list[float]:
    """How long an endpoint cools down after its first, second, … trip in a row; the last is for all that follow."""
    steps = []
    seconds = COOLDOWN
    while seconds < LONGEST_COOLDOWN:
        steps.append(seconds * random.uniform(1.0, 1.2))
        seconds *= 2
    return [*steps, LONGEST_COOLDOWN]
