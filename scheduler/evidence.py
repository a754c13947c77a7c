"""What shows that a rule has something to tell before its time. The daemon reads it with the statement that notes how sweeps ended."""

from collections.abc import Mapping
from typing import NamedTuple

from beat_actors.database.processes import SEEN_WITHIN
from beat_actors.watch.by_hand import FORGOTTEN
from beat_actors.watch.database import SLOW_QUERY
from beat_actors.watch.quarantine import SETTLED

THRESHOLDS = {"living": SEEN_WITHIN, "slow": SLOW_QUERY, "forgotten": FORGOTTEN}
"""Parameters of the statement."""


class Evidence(NamedTuple):
    """What changes when a rule has something to tell. `quarantined`: the last entry. `in_trouble`: a digest of what processes say of themselves.
    `slow`: whether statements of any process are. `forgotten`: how much a person has stopped for long."""

    quarantined: int | None
    in_trouble: str | None
    slow: bool
    forgotten: int


DUE_BY: Mapping[str, tuple[tuple[str, float], ...]] = {
    "quarantined": (("watch_situations", SETTLED + 1.0),),
    "in_trouble": (("watch_process", 0.0), ("watch_database", 0.0)),
    "slow": (("watch_database", 0.0),),
    "forgotten": (("watch_hand", 0.0),),
}
"""The jobs that a change of each field of `Evidence` makes due, and in how many seconds."""
