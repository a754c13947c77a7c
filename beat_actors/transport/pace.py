"""How fast objects are stored in a bucket that says SlowDown. This decides and does no I/O; `gate` makes tasks wait.

S3 takes 3,500 PUTs a second for each prefix of keys, and fewer in the first minutes of a load: it refuses the rest with 503. So the rate begins low
and doubles while nothing is refused. A window of time with refusals cuts it. Windows without refusals raise it again, faster with each, and
carefully around the rate that was refused last.
"""

START = 200.0
"""Objects a second, at the beginning of a load."""
SLOWEST = 10.0
"""Objects a second that are tried however much is refused: enough to notice within a second that the bucket takes them again."""
BURST = 0.05
"""Seconds of the rate that may be used at once."""
WINDOW, ANSWERS = 0.5, 5
"""A window lasts this many seconds, and until so many answers have come."""
ENOUGH, MANY = 10, 0.3
"""A window ends early when so many answers have come and this share of them are refusals."""
HALF, LESS = 0.5, 0.95
"""What is left of the rate after many refusals; what is left of the part that was taken after a few."""
FIRST, DOUBLE, CAREFUL = 0.05, 1.0, 0.03
"""How much a window without refusals adds: at first after a cut, at most, and around the rate that was refused."""
BELOW, ABOVE = 0.9, 1.1
"""Around: from and to this part of it."""
TELLING = 10 * SLOWEST
"""A rate below this one that is refused says nothing about what the bucket can do."""
ALMOST = 1.0 - 1e-6
"""A whole turn, but for what floats lose."""
IDLE = 60.0
"""Seconds without an object after which a load begins anew."""
REPEATS, REPEAT_EACH = 20.0, 0.1
"""Refused requests that may be repeated at once: so many, and one more for each ten that were taken."""


class Pace:
    """The rate at which one process may store objects in one bucket. Times are seconds of any one clock that does not go back."""

    def __init__(self, now: float) -> None:
        self.rate = START
        self._tokens, self._filled, self._taken = 1.0, now, now
        self._step, self._ceiling, self._cut_before = DOUBLE, 0.0, False
        self._repeats = REPEATS
        self._generation = 0
        self._begin(now)

    def take(self, now: float) -> float:
        """0.0: an object may be sent now, and this is counted. Otherwise the seconds until one may be."""
        if now - self._taken >= IDLE:
            self.rate, self._step, self._ceiling = min(self.rate, START), DOUBLE, 0.0
            self._begin(now)
        self._tokens = min(self._tokens + (now - self._filled) * self.rate, max(1.0, self.rate * BURST))
        self._filled = now
        if self._tokens < ALMOST:
            self._limited = True
            return (1.0 - self._tokens) / self.rate
        self._tokens -= 1.0
        self._taken = now
        return 0.0

    @property
    def generation(self) -> int:
        """What to hand back with the answer to a request that is sent now. Answers to requests before a cut are no verdict on the new rate."""
        return self._generation

    def accepted(self, now: float, generation: int) -> None:
        """The bucket took an object, or has it."""
        self._repeats = min(self._repeats + REPEAT_EACH, REPEATS)
        self._answered(now, generation, 0)

    def refused(self, now: float, generation: int) -> None:
        """The bucket said SlowDown."""
        self._answered(now, generation, 1)

    def may_repeat(self) -> bool:
        """Whether a refused or broken request may be sent again at once, which is counted. Otherwise its object has to wait for later."""
        if self._repeats < 1.0:
            return False
        self._repeats -= 1.0
        return True

    def _begin(self, now: float) -> None:
        self._since, self._answers, self._refusals, self._limited = now, 0, 0, False

    def _answered(self, now: float, generation: int, refusals: int) -> None:
        if generation != self._generation:
            return
        self._answers += 1
        self._refusals += refusals
        many = self._refusals >= MANY * self._answers
        if self._answers >= ENOUGH and many:
            self._cut(now)
        elif self._answers >= ANSWERS and now - self._since >= WINDOW:
            if self._refusals:
                self._cut(now)
            else:
                self._grow(now)

    def _cut(self, now: float) -> None:
        """One cut in a row names the rate that is too high; the next ones only follow."""
        if not self._cut_before and self.rate >= TELLING:
            self._ceiling = self.rate
        share = self._refusals / self._answers
        left = HALF if share >= MANY else LESS * (1.0 - share)
        self.rate = max(self.rate * left, SLOWEST)
        self._tokens = min(self._tokens, 1.0)
        self._step, self._cut_before = FIRST, True
        self._generation += 1
        self._begin(now)

    def _grow(self, now: float) -> None:
        """A rate that nobody used up says nothing about a higher one."""
        if self._limited:
            if self._ceiling * BELOW <= self.rate <= self._ceiling * ABOVE:
                self.rate *= 1.0 + CAREFUL
            else:
                grown = self.rate * (1.0 + self._step)
                below = self.rate < self._ceiling
                self.rate = min(grown, self._ceiling * BELOW) if below else grown
                self._step = min(self._step * 2, DOUBLE)
            if self.rate > self._ceiling * ABOVE > 0.0:
                self._ceiling, self._step = 0.0, FIRST
        self._cut_before = False
        self._begin(now)
