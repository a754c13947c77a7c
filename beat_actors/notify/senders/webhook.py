"""Webhooks for programs: JSON, signed as the webhooks of events are. Pure."""

from typing import Any

from beat_actors.moments import moment
from beat_actors.notify.message import Message, Told, over, summary, title
from beat_actors.webhooks.signing import sign

TYPE = "beat.notification"


def payload(message: Message) -> dict[str, Any]:
    """The body of the call. `docs/notifications.md` describes it."""
    return {
        "type": TYPE,
        "timestamp": moment(message.at),
        "data": {
            "id": message.id,
            "sink": message.sink,
            "source": message.source,
            "group": message.group,
            "state": message.state,
            "severity": message.severity,
            "title": title(message),
            "summary": summary(message),
            "link": message.link,
            "affected": [one._asdict() for one in message.affected],
            "alerts": [_alert(message, one) for one in message.alerts],
        },
    }


def headers(message: Message, body: bytes, secret: str) -> dict[str, str]:
    """`webhook-id` is the same in each attempt of a message."""
    number, at = f"notification-{message.id}", int(message.at.timestamp())
    return {
        "webhook-id": number,
        "webhook-timestamp": str(at),
        "webhook-signature": sign([secret], number, at, body),
    }


def _alert(message: Message, one: Told) -> dict[str, Any]:
    state = "resolved" if one.resolved_at is not None else "new" if one.told is None else "open"
    found = {name: value for name, value in one._asdict().items() if name not in ("told", "told_at")}
    return found | {"state": state, "over": over(message, one) if one.resolved_at is None else None}
