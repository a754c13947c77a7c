"""`beat stuck`: requests that run for long."""

from beat_actors.cli.operators import ask, watching
from beat_actors.cli.output import TABLE, Flag, Shape, say, show_list
from beat_actors.errors import BadInput


def stuck(*, minutes: float = 10.0, requeue: Flag = False, reason: str | None = None, shape: Shape = TABLE) -> None:
    """List long-running requests and what blocks each. Changes nothing by itself.

    Parameters
    ----------
    minutes
        From which age on a request is listed.
    requeue
        Reclaim work that a worker has held for that long: another worker continues, and the first one can write nothing any more. Workers that
        died are found within seconds without it.
    reason
        Kept in the audit log.
    """
    seconds = minutes * 60
    if requeue:
        if not reason:
            raise BadInput("say why with --reason; it is kept in the audit log", field="reason")
        taken = ask(watching.There, lambda beat: beat.reclaim(seconds, reason=reason))
        say(
            f"{taken.fetches:,} fetches of {len(taken.requests):,} requests were taken from their workers; others continue them within seconds"
        )
        return
    show_list(
        ask(watching.There, lambda beat: beat.stuck(seconds)),
        ("request", "platform", "flow", "started", "held", "for", "between stages", "waiting"),
        lambda one: (
            one.id, one.platform, one.flow, one.picked_at, one.held, _minutes(one.held_for), one.unheld, one.waiting,
        ),
        shape,
        empty=f"no request has been running for more than {minutes:g} min",
    )  # fmt: skip


def _minutes(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds / 60:.0f} min"
