"""Steps of the database's clock, as one process finds them: NTP on a bad day, or a fail-over to a host with another clock.

Between two looks the database's clock has to go on as this process's own does. Where it went on further, it stepped forth: times from before
the step are moved by it for what limits calls, so that no window empties at once, and so are the cooldowns of credentials. Where it went back,
whatever lies in the future counts as just now for a limit; the leading scheduler sets right what else was set before (`requests.steps`).
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from beat_actors.logger import get_logger

log = get_logger(__name__)

BOUND = 0.25
"""Seconds that the clock may gain or lose between two looks and be believed; and the share of the time between them."""
DRIFT = 0.001
TOLD_FOR = 3600.0
"""Seconds after a step for which the process reports it."""
LEARNS_FOR = 60.0
"""Seconds after its first look within which a process learns of steps from before it: others find and report them somewhat later."""


def elapsed() -> float:
    """Seconds on a clock of this host that never steps, and goes on while the host sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Step:
    """The clock stepped forth by `seconds`; `before`: what it would have shown when that was found (epoch seconds)."""

    before: float
    seconds: float


@dataclass(frozen=True, slots=True)
class StepBack:
    """The clock stepped back by `seconds`; `found`: what it showed when that was found (epoch seconds), which was at `found_by` on
    `time.monotonic`."""

    found: float
    seconds: float
    found_by: float


class StepWatch:
    """One for each process and database. `steps`: those forth that times from before them have to be moved by. `back`: steps back, for those who
    sets right what they leave."""

    def __init__(self) -> None:
        self.steps: deque[Step] = deque(maxlen=20)
        self.back: deque[StepBack] = deque(maxlen=20)
        self.on_step: Callable[[], object] = lambda: None
        """Called when a step is found."""
        self._forth: float | None = None
        self._first: tuple[float, float] | None = None
        self._last: tuple[float, float, float] | None = None
        self._told: tuple[float, float] | None = None

    def look(self, now: float, asked: float, answered: float) -> None:
        """`now`: the database's clock, which was read between two moments of `elapsed`."""
        if self._last is not None:
            before, first, last = self._last
            bound = BOUND + DRIFT * (answered - first)
            gained, lost = now - before - (answered - first), (asked - last) - (now - before)
            if gained > bound:
                self.steps.append(Step(now - gained, gained))
                self._forth = answered
                self._tell(gained, answered)
            elif lost > bound:
                self.steps = deque((one for one in self.steps if one.before + one.seconds <= now), maxlen=20)
                self.back.append(StepBack(now, lost, time.monotonic()))
                self._tell(-lost, answered)
        self._last = (now, asked, answered)
        if self._first is None:
            self._first = (now, answered)

    @property
    def learns(self) -> bool:
        """Whether steps from before the first look may be unknown: it was just made, and no step was found since."""
        return self._told is None and (self._first is None or elapsed() - self._first[1] < LEARNS_FOR)

    def learn(self, found: Iterable[Iterable[Step]]) -> None:
        """`found`: for each other process, the steps forth that it knows. Takes over those from before this one's first look, of the process
        that knows most of them: what several have found are the same steps."""
        if not self.learns or self._first is None:
            return
        first = self._first[0]
        known = [[step for step in steps if step.before + step.seconds <= first] for steps in found]
        self.steps = deque(max([list(self.steps), *known], key=_in_all), maxlen=20)

    def moved(self, at: float, *, ahead: float = 0.0) -> float:
        """A time of the database's clock as it is after the steps forth since. `ahead`: seconds before it, at most, that it was set."""
        for step in self.steps:
            if at - ahead <= step.before:
                at += step.seconds
        return at

    def moved_rest(self, until: float | None, written: float | None) -> float | None:
        """The end of a cooldown that lasts as long as it was to last, whatever steps forth came after it was `written`."""
        for step in self.steps:
            if until is not None and written is not None and written <= step.before < until:
                until += step.seconds
        return until

    def stepped_forth(self, within: float) -> bool:
        """Whether a step forth was found so recently (seconds) that leases may seem to have ended whose holders live."""
        return self._forth is not None and elapsed() - self._forth < within

    def expected(self) -> float | None:
        """What the database's clock shows now, unless it stepped since the last look; `None` before the first."""
        if self._last is None:
            return None
        now, _, answered = self._last
        return now + elapsed() - answered

    def said(self, clock: Callable[[], float] = elapsed) -> str | None:
        """A sentence on the last step, while it is recent."""
        if self._told is None or clock() - self._told[1] > TOLD_FOR:
            return None
        seconds = self._told[0]
        return f"the clock of the database stepped {'forth' if seconds > 0 else 'back'} by {abs(seconds):.1f} s"

    def _tell(self, seconds: float, at: float) -> None:
        self._told = (seconds, at)
        self.on_step()
        log.error("database_clock_stepped", seconds=round(seconds, 2))


def _in_all(steps: Iterable[Step]) -> float:
    return sum(step.seconds for step in steps)
