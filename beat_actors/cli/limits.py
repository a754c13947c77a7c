"""`beat limits`: how the limits on on-demand requests stand, and their reset."""

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from beat_actors.cli.output import say, show_json, show_rows
from beat_actors.cli.session import Session, run, who
from beat_actors.quotas import overview
from beat_actors.quotas.limiter import StackedLimiter
from beat_actors.quotas.overview import LimitView

app = App(name="limits", help="Limits on on-demand requests: what is used, what is left and until when; reset.")
UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@app.default
def limits(*, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Show every limit: used, left, the rate of late beside the even one, and when it will be exhausted at that rate."""

    async def work(session: Session) -> list[LimitView]:
        limiter = StackedLimiter(session.engine.database)
        try:
            return await overview.overview(limiter)
        finally:
            await limiter.close()

    found = run(work)
    if json:
        show_json(found)
        return
    rows = [
        (
            one.name,
            one.platform,
            one.used,
            one.left,
            one.left_for_batch,
            one.calls,
            _window(one),
            _per_hour(one.rate),
            _per_hour(one.even_rate),
            _moment(one.renews_at),
            _moment(one.exhausted_at),
        )
        for one in found
    ]
    columns = (
        "limit", "platform", "used", "left", "for batch", "of", "in", "rate/h", "even/h", "room from (UTC)", "exhausted (UTC)",
    )  # fmt: skip
    show_rows(columns, rows, empty="no platform declares a refresh on demand")


@app.command
def reset(name: str, /, *, reason: str) -> None:
    """Empty a limit. Who did it and why goes to the audit log.

    Parameters
    ----------
    name
        As `beat limits` shows it, with or without the prefix of its key in Redis.
    reason
        Why it may be exceeded; the broker still keeps each credential's own limits.
    """

    async def work(session: Session) -> int:
        limiter = StackedLimiter(session.engine.database)
        try:
            return await overview.reset(session.engine.database, limiter, name, actor=who(), reason=reason)
        finally:
            await limiter.close()

    used = run(work)
    say(f"{name} is empty again; {used:,} calls had been counted")


def _window(one: LimitView) -> str:
    length = next((f"{one.seconds // unit} {word}" for unit, word in UNITS if one.seconds % unit == 0), "")
    return f"{length}, {one.window}" + (", per handle" if one.per_handle else "")


def _per_hour(rate: float | None) -> int | None:
    return None if rate is None else round(rate)


def _moment(at: datetime | None) -> str | None:
    return None if at is None else f"{at.astimezone(UTC):%m-%d %H:%M:%S}"
