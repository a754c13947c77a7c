"""What PagerDuty, Alertmanager and Slack document of what they take, as JSON Schemas. Facts of their references, in our words.

Each also refuses properties that the reference does not name, so that a misspelt one is found.
"""

from typing import Any

TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)$"}
URL = {"type": "string", "pattern": "^https?://"}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


_PAYLOAD = _object(
    ["summary", "source", "severity"],
    summary=TEXT | {"maxLength": 1024},
    source=TEXT,
    severity={"enum": ["critical", "error", "warning", "info"]},
    timestamp=TIME,
    component=TEXT,
    group=TEXT,
    custom_details={"type": "object"},
    **{"class": TEXT},
)
PAGERDUTY = {
    **_object(
        ["routing_key", "event_action", "dedup_key"],
        routing_key=TEXT | {"minLength": 32, "maxLength": 32},
        event_action={"enum": ["trigger", "acknowledge", "resolve"]},
        dedup_key=TEXT | {"maxLength": 255},
        payload=_PAYLOAD,
        client=TEXT,
        client_url=URL,
        links={"type": "array", "items": _object(["href"], href=URL, text=TEXT)},
        images={"type": "array"},
    ),
    "if": {"properties": {"event_action": {"const": "trigger"}}},
    "then": {"required": ["payload"]},
}
_LABELS = {
    "type": "object",
    "propertyNames": {"pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"},
    "additionalProperties": {"type": "string"},
}
ALERTMANAGER = {
    "type": "array",
    "minItems": 1,
    "items": _object(
        ["labels"],
        labels=_LABELS | {"required": ["alertname"], "minProperties": 1},
        annotations=_LABELS,
        startsAt=TIME,
        endsAt=TIME,
        generatorURL=URL,
    ),
}
SLACK = _object(
    ["text"],
    text=TEXT | {"maxLength": 40_000},
    attachments={
        "type": "array",
        "maxItems": 100,
        "items": _object(
            ["fallback", "text"],
            fallback=TEXT,
            color={"type": "string", "pattern": "^(good|warning|danger|#[0-9a-fA-F]{6})$"},
            title=TEXT,
            text=TEXT,
            mrkdwn_in={"type": "array", "items": {"enum": ["text", "pretext", "fields"]}},
            ts={"type": "integer"},
        ),
    },
)
WEBHOOK = _object(
    ["type", "timestamp", "data"],
    type={"const": "beat.notification"},
    timestamp=TIME,
    data=_object(
        ["id", "sink", "source", "group", "state", "severity", "title", "summary", "link", "affected", "alerts"],
        id={"type": "integer"},
        sink=TEXT,
        source=TEXT,
        group={"type": "string"},
        state={"enum": ["firing", "resolved", "test"]},
        severity={"enum": ["info", "warning", "critical"]},
        title=TEXT,
        summary=TEXT,
        link={"type": ["string", "null"]},
        affected={"type": "array"},
        alerts={
            "type": "array",
            "items": {"type": "object", "required": ["id", "key", "state", "action", "opened_at"]},
        },
    ),
)
