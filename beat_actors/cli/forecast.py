"""`beat forecast`: when limits will be used up, and how right earlier forecasts were."""

from datetime import datetime
from typing import Annotated

from cyclopts import Parameter

from beat_actors.cli.operators import ask
from beat_actors.cli.operators.limits import There
from beat_actors.cli.output import TABLE, Shape, show_list
from beat_actors.forecast.outlook import ENOUGH_DAYS
from beat_actors.quotas.budgets import BudgetView


def forecast(*, accuracy: Annotated[bool, Parameter(negative="")] = False, shape: Shape = TABLE) -> None:
    """Show for each limit of a day how likely it is to be used up, and when: in the middle of the cases, and the interval of four cases in five.

    Parameters
    ----------
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
    show_list(
        found.budgets,
        ("limit", "used", "limit calls", "used up with", "at", "earliest", "latest", "until", "days known"),
        lambda one: (
            one.name, one.used, one.calls, _likely(one), one.used_up_at, one.earliest, _latest(one), one.until, one.days,
        ),
        shape,
        empty="no platform declares a limit of a day",
    )  # fmt: skip


def _likely(one: BudgetView) -> str:
    if one.used >= one.calls:
        return "is used up"
    return f"too little known: {ENOUGH_DAYS} days are needed" if one.probability is None else f"{one.probability:.0%}"


def _latest(one: BudgetView) -> datetime | str | None:
    return "lasts" if one.earliest is not None and one.latest is None else one.latest


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.0%}"
