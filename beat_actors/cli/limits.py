"""`beat limits`: how the limits on on-demand requests stand, and their reset."""

from cyclopts import App

from beat_actors.cli.operators import ask
from beat_actors.cli.operators.limits import There
from beat_actors.cli.output import TABLE, Shape, say, show_list
from beat_actors.quotas.overview import LimitView

app = App(name="limits", help="Limits on on-demand requests: used, left, rate, forecast; reset one.")
UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@app.default
def limits(*, shape: Shape = TABLE) -> None:
    """Show every limit: calls used and left, the current rate beside the even one, and when the limit is exhausted at that rate."""
    show_list(
        ask(There, lambda beat: beat.limits()),
        ("limit", "platform", "used", "left", "left for batch", "limit calls", "window", "rate/h", "even rate/h", "renews", "exhausted"),
        lambda one: (
            one.name, one.platform, one.used, one.left, one.left_for_batch, one.calls, _window(one),
            _per_hour(one.rate), _per_hour(one.even_rate), one.renews_at, one.exhausted_at,
        ),
        shape,
        empty="no platform declares a refresh on demand",
    )  # fmt: skip


@app.command
def reset(name: str, /, *, reason: str) -> None:
    """Reset the counter of a limit.

    Parameters
    ----------
    name
        As `beat limits` shows it, with or without the prefix of its key in Redis.
    reason
        Kept in the audit log. The broker still keeps each credential's own limits.
    """
    used = ask(There, lambda beat: beat.reset(name, reason=reason))
    say(f"{name} is reset; it had counted {used:,} {'call' if used == 1 else 'calls'}")


def _window(one: LimitView) -> str:
    length = next((f"{one.seconds // unit} {word}" for unit, word in UNITS if one.seconds % unit == 0), "")
    return f"{length}, {one.window}" + (", per handle" if one.per_handle else "")


def _per_hour(rate: float | None) -> int | None:
    return None if rate is None else round(rate)
