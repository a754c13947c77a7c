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
BY_HAND = timedelta(hours=1)
"""What a person stopped is told an hour later; what waits because of it is noticed before."""
LAYERS = (
    "scheduler", "database", "redis", "connections", "workers", "code", "process", "sweep", "platform", "source", "parser", "data", "credentials",
    "claims", "limit", "forecast", "quota", "hand", "events", "notify", "webhook", "assets", "backlog", "held", "consistency", "waiting",
)  # fmt: skip
"""Rules from the foundation up; those that are not listed come last."""
EXPLAIN = frozenset(
    {
        "scheduler", "database", "redis", "connections", "workers", "code", "process", "sweep", "platform", "source", "parser", "data", "credentials",
        "limit", "forecast", "hand", "events", "notify", "assets",
    }
)  # fmt: skip
"""Rules whose alerts can be causes of others."""
DATABASE = frozenset({"database:slow", "database:outage"})
OF_WORK = frozenset({"claims", "waiting", "backlog"})
"""Rules about work that makes no progress."""
OF_SOURCE = frozenset({"credentials", "credential", "quarantine", "owners", "quota"})
"""Rules about a source that fails, as seen elsewhere."""
OF_SWEEP = {"partitions": "partition:", "archive": "payloads:", "assets_deleted": "assets:undeleted", "held": "held:"}
"""By the sweep that is late: the keys of what it leaves undone."""
DISTRUSTED = "hand:data:"
"""How the alerts begin that are about a data breaker which a person opened."""
NEXT_PARSER = ":next"
"""How the alerts end that are about a next parser. Nothing waits for one."""
AFTER_A_RESTORE = frozenset({"consistency", "partition"})
"""Rules about what a dump that was restored may have brought along."""


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
    if part.opened_at < root.opened_at - SLACK - (BY_HAND if root.rule == "hand" else timedelta()):
        return False
    if root.key == "database:outage" and part.opened_at > root.opened_at + SLACK:
        return False  # the alert stays for an hour after the outage
    return (
        _covers(root, part)
        or _by_a_server(root, part)
        or _by_a_process(root, part)
        or _by_a_source(root, part, platform_of)
        or _by_wrong_data(root, part, platform_of)
        or _by_a_budget(root, part)
        or _within_a_family(root, part)
    )


def _covers(root: Standing, part: Standing) -> bool:
    """As the rules themselves have it: a platform at a standstill, a source that fails."""
    if root.rule == "platform":
        covered = root.covers or ()
        return part.source in covered or part.key.startswith((f"waiting:{root.about}:", f"hand:flow:{root.about}:"))
    # A record is held because other sources do not confirm it, and not because its own fails.
    return root.rule == "source" and part.source == root.source and part.rule not in {"platform", "held"}


def _by_a_server(root: Standing, part: Standing) -> bool:
    if root.key in DATABASE:
        return part.rule in {*OF_WORK, "sweep", "webhook", "notify", "events", "connections", "database"}
    if root.key == "database:restored":
        return part.rule in AFTER_A_RESTORE
    if root.rule == "connections" or root.key == "database:pool":
        return part.rule in {*OF_WORK, "sweep"} or part.key in {"database:pool", "database:claims"}
    if root.rule == "redis":
        return part.rule in {*OF_WORK, "workers", "sweep", "limit"} or part.key == "database:claims"
    return False


def _by_a_process(root: Standing, part: Standing) -> bool:
    if root.rule == "scheduler":
        return part.rule == "sweep"
    if root.rule == "sweep":
        return root.about in OF_SWEEP and part.key.startswith(OF_SWEEP[root.about])
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
    if part.rule in OF_SOURCE or (part.rule == "data" and root.rule == "parser"):
        return part.source == root.source
    return root.severity == "critical" and part.key.startswith(f"waiting:{platform_of.get(root.source)}:")


def _by_wrong_data(root: Standing, part: Standing, platform_of: Mapping[str, str]) -> bool:
    """A source that answers wrongly has its records held, and is not asked. One that does not answer confirms no records of others."""
    if part.rule == "held" and root.rule in {"source", "credentials"} and root.source is not None:
        return root.source != part.source and platform_of.get(root.source) == platform_of.get(part.source or "")
    if root.rule != "data" and not root.key.startswith(DISTRUSTED):
        return False
    if part.rule == "held":
        return part.about == root.about.removeprefix("data:").removesuffix(NEXT_PARSER)
    return not root.key.endswith(NEXT_PARSER) and part.key.startswith(f"waiting:{platform_of.get(root.source or '')}:")


def _by_a_budget(root: Standing, part: Standing) -> bool:
    """A limit that fills was forecast to, and its forecast is no second problem."""
    if root.rule == "limit":
        return part.rule == "forecast" and part.about.partition(":")[0] == root.about.partition(":")[0]
    return root.rule == "forecast" and root.source is not None and part.rule == "quota" and part.source == root.source


def _within_a_family(root: Standing, part: Standing) -> bool:
    if root.key.startswith("hand:flow:"):
        return part.key == f"waiting:{root.key.removeprefix('hand:flow:')}"
    if root.key.startswith("hand:source:"):
        return part.source == root.source and part.rule in {"source", "credentials", "owners"}
    if root.key == "notify:deliverer":
        return part.rule in {"notify", "webhook"}
    if root.key == "events:publisher":
        return part.rule == "events"
    if root.rule == "events":
        return part.key == f"{root.key.rpartition(':')[0]}:lag" and part.key != root.key
    if root.key == "assets:bucket":
        return part.key in {"process:bucket", "assets:failing", "assets:late", "backlog:assets"}
    if root.key in {"assets:cap", "assets:failing"}:
        return part.key in {"assets:late", "backlog:assets"}
    return root.key == "assets:late" and part.key == "backlog:assets"
