"""Alerts: rows that say what is wrong, whom it touches, what happens by itself, and the one safe thing to do.

An alert is opened once, kept up to date while its cause stands, and resolved when the cause is gone; both ends, and a rise to another
severity, are events in the outbox, in the same transaction. What a source's own alert explains already is not told while that one
stands, and is told then if its cause still does: nobody is told twice.
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

    `again_after`: seconds after its opening in which an alert of this key is not opened a second time, unless it is graver now.
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
    """An alert as people see it. `silenced`: nobody is told of it, by a person's word or because its source's own alert says it."""

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


RANK = "array_position('{info,warning,critical}', "
# What an alert is of that stands already is brought up to date; what was not told of it so far is told when nothing keeps it back any more.
OPENED = f"""
standing AS (
    SELECT s.*, split_part(s.key, ':', 1) <> %(source_rule)s AND EXISTS (
        SELECT FROM alert o WHERE o.resolved_at IS NULL AND o.source = s.source AND split_part(o.key, ':', 1) = %(source_rule)s) AS explained
    FROM jsonb_to_recordset(%(standing)s::jsonb) AS s(
        key text, severity text, cause text, impact text, automatic text, action text, source text, again_after double precision)
    WHERE beat_leads(%(epoch)s)
), known AS (
    SELECT s.*, a.id, a.told AS before,
           CASE WHEN NOT a.silenced AND NOT s.explained AND coalesce({RANK} s.severity) > {RANK} a.told), true)
                THEN s.severity ELSE a.told END AS now_told
    FROM standing s JOIN alert a ON a.key = s.key AND a.resolved_at IS NULL
), updated AS (
    UPDATE alert a SET severity = k.severity, cause = k.cause, impact = k.impact, automatic = k.automatic, action = k.action,
        explained = k.explained, told = k.now_told
    FROM known k WHERE a.id = k.id AND a.resolved_at IS NULL
      AND (a.severity, a.cause, a.impact, a.automatic, a.action, a.explained, a.told)
          IS DISTINCT FROM (k.severity, k.cause, k.impact, k.automatic, k.action, k.explained, k.now_told)
    RETURNING a.*, CASE WHEN k.before IS NULL THEN 'opened' ELSE 'escalated' END AS state, k.before IS DISTINCT FROM a.told AS tell
), opened AS (
    INSERT INTO alert (key, severity, cause, impact, automatic, action, source, explained, told)
    SELECT key, severity, cause, impact, automatic, action, source, explained, CASE WHEN NOT explained THEN severity END
    FROM standing s
    WHERE NOT EXISTS (SELECT FROM alert a WHERE a.key = s.key AND (
        a.resolved_at IS NULL OR a.opened_at > clock_timestamp() - make_interval(secs => s.again_after)
                                 AND {RANK} coalesce(a.told, a.severity)) >= {RANK} s.severity)))
    ON CONFLICT (key) WHERE resolved_at IS NULL DO NOTHING
    RETURNING *, 'opened' AS state, NOT explained AS tell
)"""  # noqa: S608 - this module's own text
EVENTS = """
, event AS (
    INSERT INTO outbox_event (event_id, type, subject, data)
    SELECT md5('alert ' || id || ' ' || state || CASE WHEN state = 'escalated' THEN ' ' || severity ELSE '' END)::uuid,
           'beat.alert.' || state, 'alert/' || key,
           jsonb_build_object('id', id, 'key', key, 'severity', severity, 'cause', cause, 'impact', impact, 'automatic', automatic,
                              'action', action, 'source', source, 'opened_at', opened_at)
    FROM changed WHERE tell ON CONFLICT (event_id) DO NOTHING
)
SELECT count(*) FROM changed
"""
OPEN = f"""
WITH {OPENED}, changed AS (SELECT * FROM opened UNION ALL SELECT * FROM updated WHERE tell) {EVENTS}
"""  # noqa: S608 - this module's own text
# The end of what nobody was told of is not told either.
RESOLVE = f"""
WITH changed AS (
    UPDATE alert SET resolved_at = clock_timestamp() WHERE key = ANY(%s) AND resolved_at IS NULL
    RETURNING *, 'resolved' AS state, NOT silenced AND told IS NOT NULL AS tell
) {EVENTS}
"""  # noqa: S608 - this module's own text
# `epoch` is the leader's; a leader that has been replaced neither opens, nor changes, nor resolves anything.
REPORT = f"""
WITH {OPENED}, resolved AS (
    UPDATE alert SET resolved_at = clock_timestamp()
    WHERE resolved_at IS NULL AND split_part(key, ':', 1) = %(rule)s AND key NOT IN (SELECT key FROM standing) AND beat_leads(%(epoch)s)
    RETURNING *, 'resolved' AS state, NOT silenced AND told IS NOT NULL AS tell
), changed AS (
    SELECT * FROM opened UNION ALL SELECT * FROM updated WHERE tell UNION ALL SELECT * FROM resolved
) {EVENTS}
"""  # noqa: S608 - this module's own text
LIST = """
SELECT id, key, severity, cause, impact, automatic, action, source, opened_at, resolved_at, silenced OR explained AS silenced FROM alert
WHERE %(all)s OR resolved_at IS NULL ORDER BY resolved_at IS NOT NULL, array_position('{critical,warning,info}', severity), id DESC
LIMIT %(limit)s
"""
SILENCE = "UPDATE alert SET silenced = %s WHERE id = %s AND resolved_at IS NULL RETURNING key"


async def open_alert(transaction: Transaction, alert: Alert) -> None:
    """Open it, or bring up to date the one of its key that is open."""
    await open_alerts(transaction, [alert])


async def open_alerts(transaction: Transaction, alerts: Sequence[Alert]) -> None:
    """Open them in one statement, or bring up to date those of their keys that are open."""
    await transaction.run(OPEN, {"standing": _json(alerts), "source_rule": SOURCE_RULE, "epoch": None})


async def resolve_alerts(transaction: Transaction, keys: Sequence[str]) -> None:
    """What these alerts were about is over."""
    await transaction.run(RESOLVE, (list(keys),))


async def report(transaction: Transaction, rule: str, standing: Sequence[Alert], *, epoch: int | None = None) -> int:
    """Make the open alerts of a rule those of `standing`; how many were opened, resolved or told anew.

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
