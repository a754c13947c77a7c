"""Which of the open alerts are causes, and which are parts of them. Pure.

The rules look at symptoms as well as at causes: if PostgreSQL is slow, work waits long for a worker, sweeps are late and requests wait. Here one
alert is the root, and the alerts that it explains are its parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from beat_actors.severities import SEVERITIES

SLACK = timedelta(minutes=5)
"""By how much a part may be noticed before its cause: each rule has an interval and a threshold of its own."""
LAYERS = (
    "scheduler", "database", "redis", "connections", "workers", "code", "process", "sweep", "platform", "source", "parser", "credentials", "claims",
    "limit", "quota", "hand", "events", "webhook", "assets", "backlog", "waiting",
)  # fmt: skip
"""Rules from the foundation up; those that are not listed come last."""
EXPLAIN = frozenset(
    {"scheduler", "database", "redis", "connections", "workers", "code", "process", "platform", "source", "parser", "credentials", "hand", "events", "assets"}
)  # fmt: skip
"""Rules whose alerts can be causes of others."""
DATABASE = frozenset({"database:slow", "database:outage"})
OF_WORK = frozenset({"claims", "waiting", "backlog"})
"""Rules about work that makes no progress."""
OF_SOURCE = frozenset({"credentials", "credential", "quarantine", "owners", "quota"})
"""Rules about a source that fails, as seen elsewhere."""


class Standing(NamedTuple):
    """An open alert. `explained`: another one explained it when its rule looked last."""

    key: str
    severity: str
    cause: str
    impact: str
    automatic: str
    action: str
    source: str | None
    covers: list[str] | None
    opened_at: datetime
    silenced: bool
    explained: bool

    @property
    def rule(self) -> str:
        return self.key.partition(":")[0]

    @property
    def about(self) -> str:
        """What stands behind the rule in the key."""
        return self.key.partition(":")[2]


@dataclass(slots=True)
class Group:
    """A root and its parts."""

    root: Standing
    parts: list[Standing] = field(default_factory=list)

    @property
    def severity(self) -> str:
        return max((one.severity for one in (self.root, *self.parts)), key=SEVERITIES.index)


def groups(alerts: Sequence[Standing], platform_of: Mapping[str, str]) -> list[Group]:
    """The causes, the gravest first, and of the equally grave the one nearest to the foundation. `platform_of`: the platform of each source."""
    ordered = sorted(alerts, key=_depth)
    causes = [one for one in ordered if one.rule in EXPLAIN]
    above: dict[str, Standing] = {}
    for one in ordered:
        for cause in causes:
            if cause.key == one.key or not explains(cause, one, platform_of) or _top(cause, above).key == one.key:
                continue
            # Of two that explain each other, the deeper or older one is the cause.
            if _depth(cause) < _depth(one) or not explains(one, cause, platform_of):
                above[one.key] = cause
                break
    found = {one.key: Group(one) for one in ordered if one.key not in above}
    for one in ordered:
        if one.key in above:
            found[_top(one, above).key].parts.append(one)
    return sorted(found.values(), key=_gravest)


def _top(alert: Standing, above: Mapping[str, Standing]) -> Standing:
    while alert.key in above:
        alert = above[alert.key]
    return alert


def _depth(alert: Standing) -> tuple[int, datetime, str]:
    return (LAYERS.index(alert.rule) if alert.rule in LAYERS else len(LAYERS)), alert.opened_at, alert.key


def _gravest(group: Group) -> tuple[bool, int, tuple[int, datetime, str]]:
    return group.root.silenced, -SEVERITIES.index(group.severity), _depth(group.root)


def explains(root: Standing, part: Standing, platform_of: Mapping[str, str]) -> bool:
    """Whether `part` is a consequence of `root`."""
    if part.explained and _covers(root, part):
        return True
    if part.opened_at < root.opened_at - SLACK:
        return False
    if root.key == "database:outage" and part.opened_at > root.opened_at + SLACK:
        return False  # the alert stays for an hour after the outage
    return (
        _covers(root, part)
        or _by_a_server(root, part)
        or _by_a_process(root, part)
        or _by_a_source(root, part, platform_of)
        or _within_a_family(root, part)
    )


def _covers(root: Standing, part: Standing) -> bool:
    """As the rules themselves have it: a platform at a standstill, a source that fails."""
    if root.rule == "platform":
        covered = root.covers or ()
        return part.source in covered or part.key.startswith((f"waiting:{root.about}:", f"hand:flow:{root.about}:"))
    return root.rule == "source" and part.source == root.source and part.rule != "platform"


def _by_a_server(root: Standing, part: Standing) -> bool:
    if root.key in DATABASE:
        return part.rule in {*OF_WORK, "sweep", "webhook", "events", "connections", "database"}
    if root.rule == "connections" or root.key == "database:pool":
        return part.rule in {*OF_WORK, "sweep"} or part.key in {"database:pool", "database:claims"}
    if root.rule == "redis":
        return part.rule in {*OF_WORK, "workers", "sweep", "limit"} or part.key == "database:claims"
    return False


def _by_a_process(root: Standing, part: Standing) -> bool:
    if root.rule == "scheduler":
        return part.rule == "sweep"
    if root.rule == "workers" or root.key == "process:crashes":
        gone = root.rule == "process" and part.rule == "workers"
        return gone or part.rule in OF_WORK or part.key in {"database:claims", "assets:late"}
    if root.key.startswith("code:platform "):
        platform = root.about.removeprefix("platform ")
        return part.key == f"claims:{platform}" or part.key.startswith(f"waiting:{platform}:")
    return False


def _by_a_source(root: Standing, part: Standing, platform_of: Mapping[str, str]) -> bool:
    if root.rule not in {"source", "parser", "credentials"} or root.source is None:
        return False
    if part.rule in OF_SOURCE:
        return part.source == root.source
    return root.severity == "critical" and part.key.startswith(f"waiting:{platform_of.get(root.source)}:")


def _within_a_family(root: Standing, part: Standing) -> bool:
    if root.key.startswith("hand:flow:"):
        return part.key == f"waiting:{root.key.removeprefix('hand:flow:')}"
    if root.key == "events:publisher":
        return part.rule == "events"
    if root.rule == "events":
        return part.key == f"{root.key.rpartition(':')[0]}:lag" and part.key != root.key
    if root.key == "assets:bucket":
        return part.key in {"process:bucket", "assets:failing", "assets:late", "backlog:assets"}
    if root.key in {"assets:cap", "assets:failing"}:
        return part.key in {"assets:late", "backlog:assets"}
    return root.key == "assets:late" and part.key == "backlog:assets"
