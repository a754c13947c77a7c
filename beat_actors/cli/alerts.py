"""`beat alerts`: open alerts, and how one is silenced."""

from datetime import datetime

from cyclopts import App

from beat_actors.alerts import AlertView
from beat_actors.cli.ids import AlertId
from beat_actors.cli.operators import ask, watching
from beat_actors.cli.output import TABLE, Flag, Shape, say, show_list, since

app = App(name="alerts", help="List open alerts with impact and recommended action; silence one.")


@app.default
def list_alerts(*, resolved: Flag = False, shape: Shape = TABLE) -> None:
    """List open alerts, the most severe first: cause, impact, automatic action, recommended action.

    Parameters
    ----------
    resolved
        Include resolved alerts, newest first, with their end and duration.
    """
    found = ask(watching.There, lambda beat: beat.alerts(resolved=resolved))
    if resolved:
        found = sorted(found, key=lambda alert: alert.opened_at, reverse=True)
    columns = ["id", "severity", "since", "cause", "impact", "automatic action", "what to do"]
    if resolved:
        columns[3:3] = ["resolved", "lasted"]
    prose = ("cause", "impact", "automatic action", "what to do")
    show_list(found, columns, lambda one: _alert(one, resolved=resolved), shape, prose=prose, empty="no open alerts")


@app.command
def silence(alert: AlertId, /, *, reason: str, undo: Flag = False) -> None:
    """Mute notifications for an alert; it stays listed until it is resolved.

    Parameters
    ----------
    reason
        Kept in the audit log.
    undo
        Send notifications again.
    """
    key = ask(watching.There, lambda beat: beat.silence(alert, silenced=not undo, reason=reason))
    say(f"{key} is {'no longer silenced' if undo else 'silenced'}")


def _alert(alert: AlertView, *, resolved: bool) -> list[object]:
    severity = f"{alert.severity}, silenced" if alert.silenced else alert.severity
    row: list[object] = [alert.id, severity, alert.opened_at, alert.cause, alert.impact, alert.automatic, alert.action]
    if resolved:
        row[3:3] = [alert.resolved_at, _lasted(alert.opened_at, alert.resolved_at)]
    return row


def _lasted(start: datetime, end: datetime | None) -> str | None:
    return None if end is None else since((end - start).total_seconds())
