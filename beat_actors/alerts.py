"""Alerts: rows that say what is wrong, whom it touches, what happens by itself, and the one safe thing to do.

An alert is opened once, kept up to date while its cause stands, and resolved when the cause is gone; both ends are events in the
outbox, in the same transaction. What a source's own alert explains already is opened silently: nobody is told twice.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec

from beat_actors import audit
from beat_actors.database import Transaction, jsonb
from beat_actors.errors import NotFound
from beat_actors.shapes import one_of
from beat_actors.text import check_text

SEVERITIES = ("info", "warning", "critical")
SOURCE_RULE = "source"
"""The rule whose alerts silence those of other rules about the same source."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """`key` begins with the rule's name and a colon, and is the same for as long as the cause is. `severity`: info, warning, critical.

    `again_after`: seconds after its opening in which an alert of this key is not opened a second time.
    """

    key: str
    severity: str
    cause: str
    impact: str
    automatic: str
    action: str
    source: str | None = None
    again_after: float = 0.0


class AlertView(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as people see it. `silenced`: nobody is told of it."""

    id: int
    key: str
    severity: Annotated[str, one_of(SEVERITIES)]
    cause: str
    impact: str
    automatic: str
    action: str
    source: str | None
    opened_at: datetime
    resolved_at: datetime | None
    silenced: bool


OPENED = """
standing AS (
    SELECT * FROM jsonb_to_recordset(%(standing)s::jsonb) AS s(
        key text, severity text, cause text, impact text, automatic text, action text, source text, again_after double precision)
), updated AS (
    UPDATE alert a SET severity = s.severity, cause = s.cause, impact = s.impact, automatic = s.automatic, action = s.action
    FROM standing s WHERE a.key = s.key AND a.resolved_at IS NULL AND (a.severity, a.cause, a.impact) <> (s.severity, s.cause, s.impact)
), opened AS (
    INSERT INTO alert (key, severity, cause, impact, automatic, action, source, silenced)
    SELECT s.key, s.severity, s.cause, s.impact, s.automatic, s.action, s.source,
           split_part(s.key, ':', 1) <> %(source_rule)s AND EXISTS (
               SELECT FROM alert o WHERE o.resolved_at IS NULL AND o.source = s.source AND split_part(o.key, ':', 1) = %(source_rule)s)
    FROM standing s
    WHERE NOT EXISTS (SELECT FROM alert a WHERE a.key = s.key AND (
        a.resolved_at IS NULL OR a.opened_at > clock_timestamp() - make_interval(secs => s.again_after)))
      AND beat_leads(%(epoch)s)
    ON CONFLICT (key) WHERE resolved_at IS NULL DO NOTHING
    RETURNING *
)"""
EVENTS = """
, event AS (
    INSERT INTO outbox_event (event_id, type, subject, data)
    SELECT md5('alert ' || id || ' ' || state)::uuid, 'beat.alert.' || state, 'alert/' || key,
           jsonb_build_object('id', id, 'key', key, 'severity', severity, 'cause', cause, 'impact', impact, 'automatic', automatic,
                              'action', action, 'source', source, 'opened_at', opened_at)
    FROM changed WHERE NOT silenced ON CONFLICT (event_id) DO NOTHING
)
SELECT count(*) FROM changed
"""
OPEN = f"WITH {OPENED}, changed AS (SELECT *, 'opened' AS state FROM opened) {EVENTS}"  # noqa: S608 - this module's own text
RESOLVE = f"""
WITH changed AS (
    UPDATE alert SET resolved_at = clock_timestamp() WHERE key = ANY(%s) AND resolved_at IS NULL RETURNING *, 'resolved' AS state
) {EVENTS}
"""  # noqa: S608 - this module's own text
# `epoch` is the leader's; a leader that has been replaced neither opens nor resolves anything.
REPORT = f"""
WITH {OPENED}, resolved AS (
    UPDATE alert SET resolved_at = clock_timestamp()
    WHERE resolved_at IS NULL AND split_part(key, ':', 1) = %(rule)s AND key NOT IN (SELECT key FROM standing) AND beat_leads(%(epoch)s)
    RETURNING *
), changed AS (SELECT *, 'opened' AS state FROM opened UNION ALL SELECT *, 'resolved' FROM resolved) {EVENTS}
"""  # noqa: S608 - this module's own text
LIST = """
SELECT id, key, severity, cause, impact, automatic, action, source, opened_at, resolved_at, silenced FROM alert
WHERE %(all)s OR resolved_at IS NULL ORDER BY resolved_at IS NOT NULL, array_position('{critical,warning,info}', severity), id DESC
LIMIT %(limit)s
"""
SILENCE = "UPDATE alert SET silenced = %s WHERE id = %s AND resolved_at IS NULL RETURNING key"


async def open_alert(transaction: Transaction, alert: Alert) -> None:
    """Open it, or bring up to date the one of its key that is open."""
    await transaction.run(OPEN, {"standing": _json([alert]), "source_rule": SOURCE_RULE, "epoch": None})


async def resolve_alerts(transaction: Transaction, keys: Sequence[str]) -> None:
    """What these alerts were about is over."""
    await transaction.run(RESOLVE, (list(keys),))


async def report(transaction: Transaction, rule: str, standing: Sequence[Alert], *, epoch: int | None = None) -> int:
    """Make the open alerts of a rule those of `standing`; how many were opened or resolved.

    Raises `ValueError` where an alert's key is not the rule's.
    """
    for alert in standing:
        if alert.key.partition(":")[0] != rule:
            raise ValueError(f"alert {alert.key!r} is not of the rule {rule!r}")
    values = {"standing": _json(standing), "rule": rule, "epoch": epoch, "source_rule": SOURCE_RULE}
    return int(await transaction.value(REPORT, values))


async def list_alerts(transaction: Transaction, *, resolved: bool = False, limit: int = 200) -> list[AlertView]:
    """The open ones, the gravest first; with `resolved`, then those that are over, newest first."""
    return [AlertView(**row._asdict()) for row in await transaction.rows(LIST, {"all": resolved, "limit": limit})]


async def silence(transaction: Transaction, alert_id: int, *, silenced: bool, actor: str, reason: str) -> str:
    """Tell nobody of this alert any more, or again; its key. Raises `NotFound` for one that is not open."""
    check_text(reason, "reason", longest=1000)
    key = await transaction.value(SILENCE, (silenced, alert_id))
    if key is None:
        raise NotFound(f"no alert {alert_id} is open")
    action = "alert.silence" if silenced else "alert.unsilence"
    await audit.record(transaction, actor=actor, action=action, target=f"alert/{key}", detail={"reason": reason})
    return str(key)


def _json(alerts: Sequence[Alert]) -> str:
    return jsonb([msgspec.structs.asdict(alert) for alert in alerts])
