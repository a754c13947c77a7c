"""PagerDuty's Events API v2. The alerts of a group are one alert there: `trigger` opens and updates it, `resolve` ends it. Pure."""

import hashlib
from typing import Any

from beat_actors.notify.message import SHOWN, Message, Told, details, headline, one_line, shortened, summary, title

LONGEST_SUMMARY, LONGEST_DEDUP = 1024, 255


def payload(message: Message, key: str) -> dict[str, Any]:
    """The event."""
    event: dict[str, Any] = {"routing_key": key, "dedup_key": dedup_key(message)}
    if not message.firing:
        return event | {"event_action": "resolve"}
    first = message.firing[0]
    event |= {
        "event_action": "trigger",
        "payload": {
            "summary": shortened(title(message), LONGEST_SUMMARY),
            "source": message.source,
            "severity": message.severity,
            "timestamp": min(one.opened_at for one in message.firing).isoformat(),
            "component": first.source or first.platform or "beat",
            "group": first.platform or "beat",
            "class": first.key.partition(":")[0],
            "custom_details": _details(message, first),
        },
        "client": "Beat",
    }
    if message.link is not None:
        event |= {"client_url": message.link, "links": [{"href": message.link, "text": "All alerts"}]}
    return event


def test_payloads(message: Message, key: str) -> list[dict[str, Any]]:
    """A test: an event that opens an alert, and one that ends it."""
    event = {"routing_key": key, "dedup_key": f"beat/test/{message.id}"}
    said = {
        "summary": title(message),
        "source": message.source,
        "severity": "info",
        "custom_details": {"summary": summary(message)},
    }
    return [event | {"event_action": "trigger", "payload": said, "client": "Beat"}, event | {"event_action": "resolve"}]


def dedup_key(message: Message) -> str:
    """The same for all events of a group of this installation and sink."""
    key = f"beat/{message.source}/{message.group}"
    if len(key) <= LONGEST_DEDUP:
        return key
    return f"beat/{hashlib.sha256(key.encode()).hexdigest()}"


def _details(message: Message, first: Told) -> dict[str, Any]:
    said: dict[str, Any] = {"summary": summary(message)}
    said |= dict(details(message, first))
    others = message.firing[1:SHOWN]
    if others:
        said["others"] = [f"{headline(one)} -> {one_line(one.action)}" for one in others]
    if len(message.firing) > SHOWN:
        said["more"] = len(message.firing) - SHOWN
    return said
