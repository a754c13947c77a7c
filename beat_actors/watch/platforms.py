"""Platforms at a standstill: requests wait, and no source can be called. Its alert explains those of the sources and credentials."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from beat_actors.alerts import PLATFORM_RULE, Alert
from beat_actors.database import Database, Statements
from beat_actors.moments import moment
from beat_actors.platforms.registry import platforms
from beat_actors.watch.rule import listed, number

LASTS = 10
"""Seconds for which every lane has to stay blocked before the platform is said to stand still: shorter waits are those of ordinary limits."""
COUNTED = 10_000
"""Waiting fetches of a platform that are counted."""


class Still(NamedTuple):
    """A platform whose lanes with waiting work are all blocked. `until`: when the first of them may go on, `None`: it needs manual action.
    `request_id`, `reasons`: of the request that has waited longest."""

    platform: str
    until: datetime | None
    request_id: int
    reasons: list[dict[str, Any]] | None
    fetches: int
    requests: int
    tenants: int


STILL = Statements(__file__)("still", Still)


async def at_a_standstill(database: Database) -> list[Alert]:
    """Platforms on which no waiting request can be served now."""
    async with database.statements() as alone:
        rows = await alone.rows(STILL, {"seconds": LASTS, "most": COUNTED})
    return [_alert(row) for row in rows if row.platform in platforms()]


def _alert(row: Still) -> Alert:
    platform = platforms()[row.platform]
    more = "more than " if row.fetches >= COUNTED else ""
    accounts = "1 account" if row.tenants == 1 else f"{row.tenants:,} accounts"
    waiting = (
        f"{more}{number(row.requests, 'request')} of {accounts} {'waits' if row.requests == 1 and not more else 'wait'}"
    )
    first = "none can be served without manual action"
    automatic = "nothing until the cause is fixed: no source becomes available automatically"
    if row.until is not None:
        first = f"the first can be served at {moment(row.until)}"
        automatic = f"the first source can be called again at {moment(row.until)}; waiting requests continue then, without any action"
    return Alert(
        key=f"{PLATFORM_RULE}:{row.platform}",
        severity="critical",
        cause=f"{row.platform} is at a standstill: {waiting}, {first}. {_why(row.reasons or [])}",
        impact="new requests are accepted and wait; reads return stored data and mark it as stale; other platforms are not affected",
        automatic=automatic,
        action=f"`beat why {row.request_id}` shows what blocks the oldest request",
        covers=list(platform.sources),
        platform=row.platform,
        over_at=row.until,
    )


def _why(reasons: Sequence[Mapping[str, Any]]) -> str:
    """What stands in the way of each source: the reason that holds for most of its credentials."""
    by_source: dict[str, Counter[str]] = {}
    for reason in reasons:
        counted = by_source.setdefault(reason.get("source") or "the flow", Counter())
        counted[reason["why"]] += reason.get("credentials", 1)
    if not by_source:
        return "The blocking reason is not known yet"
    alike: dict[str, list[str]] = {}
    for source, counted in by_source.items():
        alike.setdefault(counted.most_common(1)[0][0], []).append(source)
    return "Blocked: " + "; ".join(f"{listed(found)} ({why})" for why, found in alike.items())
