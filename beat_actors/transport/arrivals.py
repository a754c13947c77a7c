"""By when a call had reached its provider, which counts it then; nobody says so.

A call has usually arrived a moment after it was sent. But an answer that took longer than others do may have taken longer because
the call itself was late: in a queue before the provider's counter, or on the way. So the more it took beyond the fastest of late,
the later the call is taken to have arrived; its answer shows that by then it had.
"""

from collections import defaultdict, deque

ARRIVES_WITHIN = 0.25
"""Seconds that a call is on its way where nothing is slower than usual."""
OF_LATE = 20
"""Answers of a source among which the fastest is looked for."""


class Arrivals:
    """What one process has seen of each source. Where it has seen nothing, a call arrived just before its answer."""

    def __init__(self) -> None:
        self._took: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=OF_LATE))

    def after(self, source: str, sent_after: float, took: float, *, answered: bool) -> float:
        """Seconds from a call's beginning until it had arrived at the latest; `took` is until its answer, or until there was none."""
        recent = self._took[source]
        waited = took - sent_after
        late = waited - min(recent, default=0.0)
        if answered:
            recent.append(waited)
        return min(sent_after + ARRIVES_WITHIN + max(late, 0.0), took)
