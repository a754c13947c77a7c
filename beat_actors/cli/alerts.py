"""`beat alerts`: open alerts, and how one is silenced."""

import sys
from collections.abc import Sequence
from datetime import datetime

from cyclopts import App

from beat_actors.alerts import AlertView
from beat_actors.cli.ids import AlertId
from beat_actors.cli.operators import ask, watching
from beat_actors.cli.output import TABLE, Flag, Shape, say, show_list, since

app = App(name="alerts", help="List open alerts with impact and recommended action; silence one.")


@app.default
def list_alerts(*, resolved: Flag = False, silenced: Flag = False, shape: Shape = TABLE) -> None:
    """List open alerts, the most severe first: cause, impact, automatic action, recommended action.

    Parameters
    ----------
    resolved
        Include resolved alerts, newest first, with their end and duration.
    silenced
        Also show silenced alerts in full on a terminal. Without it one line has their ids while other alerts are open.
    """
    found = ask(watching.There, lambda beat: beat.alerts(resolved=resolved))
    if resolved:
        found = sorted(found, key=lambda alert: alert.opened_at, reverse=True)
    columns = ["id", "severity", "since", "cause", "impact", "automatic action", "what to do"]
    if resolved:
        columns[3:3] = ["resolved", "lasted"]
    prose = ("cause", "impact", "automatic action", "what to do")
    empty = "no open alerts and no resolved ones" if resolved else "no open alerts"
    folded: list[AlertView] = []
    if sys.stdout.isatty() and not (resolved or silenced or shape.json or shape.json_lines):
        found, folded = _folded(found)
    show_list(found, columns, lambda one: _alert(one, resolved=resolved), shape, prose=prose, empty=empty)
    if folded:
        ids = " ".join(str(one.id) for one in folded)
        say(f"{len(folded)} more silenced or explained by another alert: {ids}: `beat alerts --silenced`")


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


def _folded(alerts: Sequence[AlertView]) -> tuple[list[AlertView], list[AlertView]]:
    """The alerts to show in full, and the silenced ones, so that the alert that explains them does not scroll away. If all are silenced, all are shown."""
    loud = [one for one in alerts if not one.silenced]
    return (loud, [one for one in alerts if one.silenced]) if loud else (list(alerts), [])


def _alert(alert: AlertView, *, resolved: bool) -> list[object]:
    severity = f"{alert.severity}, silenced" if alert.silenced else alert.severity
    row: list[object] = [alert.id, severity, alert.opened_at, alert.cause, alert.impact, alert.automatic, alert.action]
    if resolved:
        row[3:3] = [alert.resolved_at, _lasted(alert.opened_at, alert.resolved_at)]
    return row


def _lasted(start: datetime, end: datetime | None) -> str | None:
    return None if end is None else since((end - start).total_seconds())
