"""`beat forecast`: when limits and the calls of credentials will be used up, when backlogs are done, and how right earlier forecasts were."""

import sys
from datetime import datetime
from typing import Annotated, Literal

from cyclopts import Parameter

from beat_actors.cli.operators import ask
from beat_actors.cli.operators.limits import Foreseen, There
from beat_actors.cli.output import TABLE, Shape, say, show_list
from beat_actors.forecast.outlook import ENOUGH_DAYS
from beat_actors.quotas.budgets import BudgetView, PoolView


def forecast(
    *,
    of: Literal["limits", "pools", "backlogs"] | None = None,
    accuracy: Annotated[bool, Parameter(negative="")] = False,
    shape: Shape = TABLE,
) -> None:
    """Show when limits and the calls of credentials are used up, and when backlogs are done: in the middle of the cases, and the interval of four in five.

    Parameters
    ----------
    of
        Show these alone: limits on on-demand requests, pools of credentials, or backlogs. In JSON and in a pipe there are the limits unless you ask for
        others.
    accuracy
        Show what came of the forecasts of the last 30 days instead. `held`: how often the interval was right, which should be four times in five.
    """
    found = ask(There, lambda beat: beat.forecast())
    if accuracy:
        show_list(
            found.accuracy,
            ("limit", "forecasts", "days used up", "warned 30 min before", "days lasted", "false alarms", "held", "median error"),
            lambda one: (
                one.name, one.forecasts, one.used_up, one.warned_in_time, one.lasted, one.false_alarms, _percent(one.held), _percent(one.median_error),
            ),
            shape,
            empty=f"no forecast has come to its end yet; the first is made after {ENOUGH_DAYS} days",
        )  # fmt: skip
        return
    if of is not None or shape != TABLE or not sys.stdout.isatty():
        SHOW[of or "limits"](found, shape)
        return
    for name, show in SHOW.items():
        say(f"{name.capitalize()}:")
        show(found, shape)
        say("")


def _limits(found: Foreseen, shape: Shape) -> None:
    show_list(
        found.budgets,
        ("limit", "used", "limit calls", "used up with", "at", "earliest", "latest", "until", "days known"),
        lambda one: (
            one.name, one.used, one.calls, _likely(one), one.used_up_at, one.earliest, _latest(one), one.until, one.days,
        ),
        shape,
        empty="no platform declares a limit of a day",
    )  # fmt: skip


def _pools(found: Foreseen, shape: Shape) -> None:
    show_list(
        found.pools,
        ("source", "limit", "credentials", "left", "total", "used up with", "at", "earliest", "latest", "anew", "most used"),
        lambda one: (
            one.source, one.limit, one.credentials, one.left, one.calls, one.unknown or f"{one.probability:.0%}", one.used_up_at, one.earliest,
            _latest(one), one.until, ", ".join(f"{each.credential_id}: {each.used:,}" for each in one.worst),
        ),
        shape,
        prose=("used up with",),
        spare=("most used", "anew", "earliest"),
        empty="no source with a limit of an hour or longer has a credential",
    )  # fmt: skip


def _backlogs(found: Foreseen, shape: Shape) -> None:
    show_list(
        found.backlogs,
        ("platform", "flow", "priority", "fetches", "done at", "earliest", "latest", "because"),
        lambda one: (
            one.platform, one.flow, one.priority, f"{one.fetches:,}{' or more' if one.more else ''}", one.expected.at, one.expected.earliest,
            one.expected.latest, one.expected.unknown or one.expected.basis,
        ),
        shape,
        prose=("because",),
        spare=("platform", "earliest"),
        empty="nothing waits",
    )  # fmt: skip


SHOW = {"limits": _limits, "pools": _pools, "backlogs": _backlogs}


def _likely(one: BudgetView) -> str:
    if one.used >= one.calls:
        return "is used up"
    return f"too little known: {ENOUGH_DAYS} days are needed" if one.probability is None else f"{one.probability:.0%}"


def _latest(one: BudgetView | PoolView) -> datetime | str | None:
    return "lasts" if one.earliest is not None and one.latest is None else one.latest


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.0%}"
