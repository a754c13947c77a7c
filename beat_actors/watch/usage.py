"""How much is used of daily limits, and of the limits on on-demand requests."""

from math import ceil
from typing import NamedTuple

from beat_actors.alerts import Alert
from beat_actors.broker.windows import Window
from beat_actors.database import Database, Statements, arrays
from beat_actors.moments import moment
from beat_actors.platforms.registry import platforms
from beat_actors.quotas.limiter import StackedLimiter
from beat_actors.quotas.overview import LimitView, overview

DAY = 86_400.0
QUOTA_LEVELS = ((0.8, "warning"), (0.5, "info"))
MOST_QUOTAS = 200
"""Limits that get an alert of their own: those of which most is used."""


class Used(NamedTuple):
    """A window of a daily limit, as `Window` takes it. `now`: epoch seconds."""

    subject: str
    limit_name: str
    head: int
    counts: list[int]
    source: str
    now: float


USED = Statements(__file__)("used", Used)


async def quotas(database: Database) -> list[Alert]:
    """Daily limits of which half, or four fifths, are used: one alert for a window, announced once at each level."""
    daily = {
        (source.name, limit.name): limit
        for platform in platforms().values()
        for source in platform.sources.values()
        for limit in source.limits
        if limit.calendar is not None or limit.seconds >= DAY
    }
    least = min(share for share, _ in QUOTA_LEVELS)
    wanted = [(source, name, ceil(limit.calls * least)) for (source, name), limit in daily.items()]
    async with database.statements() as alone:
        rows = await alone.rows(USED, {**arrays(wanted, "sources", "limits", "least"), "most": MOST_QUOTAS})
    return [
        alert
        for row in rows
        for alert in _quota(
            Window(row.subject, daily[row.source, row.limit_name], row.now, row.head, row.counts), row.source
        )
    ]


def _quota(window: Window, source: str) -> list[Alert]:
    limit, used = window.limit, window.used
    severity = next((severity for share, severity in QUOTA_LEVELS if used >= limit.calls * share), None)
    if severity is None:
        return []
    day = f":{window.head}" if limit.calendar is not None else ""
    resets = (
        f"at midnight in {limit.calendar}" if limit.calendar is not None else "as the oldest calls leave the window"
    )
    return [
        Alert(
            key=f"quota:{window.subject}:{limit.name}{day}",
            severity=severity,
            cause=f"{used:,} of {limit.calls:,} calls of the limit {limit.name!r} of {window.subject.replace(':', ' ')} ({source}) are used",
            impact="when the limit is exhausted, this credential makes no calls; its work goes to others, or waits",
            automatic=f"Beat reserves {limit.reserve:.0%} for customer-facing requests; the limit has room again {resets}",
            action=f"`beat credentials list {source}` shows their state; add one: `beat credentials add {source}`, or move batch work to another hour",
            source=source,
            again_after=max(limit.seconds, DAY),
        )
    ]  # fmt: skip


async def limits(database: Database) -> list[Alert]:
    """Daily limits on on-demand requests of which half, four fifths or all are used: one alert for a window, announced once at each level."""
    async with StackedLimiter(database) as limiter:
        views = await overview(limiter)
    return [alert for view in views if view.seconds >= DAY for alert in _limit(view)]


def _limit(view: LimitView) -> list[Alert]:
    used = view.used or 0
    severity = next((severity for share, severity in QUOTA_LEVELS if used >= view.calls * share), None)
    if severity is None:
        return []
    window = f":{view.renews_at:%Y-%m-%d}" if view.window == "calendar" and view.renews_at is not None else ""
    cause = f"{used:,} of {view.calls:,} on-demand requests of {view.platform} are used (limit {view.name})"
    if used >= view.calls:
        severity, cause = "critical", f"the limit {view.name} is exhausted: {cause}"
        impact = "every on-demand request of this platform is refused with 429; all other work continues"
    else:
        lasts = "at the current rate it lasts until it is renewed"
        if view.exhausted_at is not None:
            lasts = f"at {view.rate:,.0f} requests an hour it is exhausted at {moment(view.exhausted_at)}"
        cause, impact = (
            f"{cause}; {lasts}",
            "when the limit is exhausted, on-demand requests are refused with 429; all other work continues",
        )
    return [
        Alert(
            key=f"limit:{view.name}{window}",
            severity=severity,
            cause=cause,
            impact=impact,
            automatic="Beat paces requests that are not customer-facing, and defers batch work to off-peak hours"
            + (
                f"; the next requests leave the window at {moment(view.renews_at)}"
                if view.renews_at is not None
                else ""
            ),
            action=f"`beat limits` shows usage; send work that can wait with priority batch, or reset the limit: `beat limits reset {view.name} --reason …`",
            platform=view.platform,
            over_at=view.renews_at,
            again_after=float(view.seconds),
        )
    ]
