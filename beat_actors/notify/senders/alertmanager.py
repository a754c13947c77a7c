"""Alertmanager's API v2: `POST /api/v2/alerts`. It groups, routes and silences by itself. Pure.

An alert that is not sent again before `endsAt` counts as resolved there, so open alerts are sent again at the sink's repeat interval.
"""

from datetime import timedelta
from typing import Any

from beat_actors.notify.message import Message, Told, affected, one_line, over

PATH = "/api/v2/alerts"
KEPT_FOR = 5
"""Repeat intervals for which an alert is kept open without a word."""
LEAST, TEST = timedelta(minutes=10), timedelta(minutes=5)


def payload(message: Message) -> list[dict[str, Any]]:
    """The body of the call: an array of alerts. A test is an alert that ends by itself soon."""
    if message.test:
        return [
            {
                "labels": {"alertname": "BeatTest", "severity": "info", "instance": message.source},
                "annotations": {"summary": f"This is a test of the sink {message.sink}."},
                "startsAt": message.at.isoformat(),
                "endsAt": (message.at + TEST).isoformat(),
            }
        ]
    return [_alert(message, one) for one in message.alerts]


def _alert(message: Message, one: Told) -> dict[str, Any]:
    rule = one.key.partition(":")[0]
    # An alert is known by its labels. Routes need the severity among them; one that rises is another alert there, and the one before it ends by
    # itself at `endsAt`.
    labels = {"alertname": f"Beat{rule.title().replace('_', '')}", "key": one.key, "instance": message.source}
    labels |= {name: value for name, value in (("platform", one.platform), ("source", one.source)) if value}
    ends = one.resolved_at or message.at + max(LEAST, timedelta(seconds=KEPT_FOR * (message.repeat_seconds or 0)))
    found: dict[str, Any] = {
        "labels": labels | {"severity": one.severity},
        "annotations": {
            "summary": one_line(one.cause),
            "description": f"{one_line(one.impact)}{affected(message, one)}",
            "automatic": one_line(one.automatic),
            "action": one_line(one.action),
            "over": over(message, one),
            "id": str(one.id),
        },
        "startsAt": one.opened_at.isoformat(),
        "endsAt": ends.isoformat(),
    }
    return found if message.link is None else found | {"generatorURL": message.link}
