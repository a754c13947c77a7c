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
from beat_actors.database import Statements, Transaction, jsonb
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


SQL = Statements(__file__)
OPEN = SQL("open", int)
RESOLVE = SQL("resolve", int)
REPORT = SQL("report", int)
LIST = SQL("list", AlertView)
SILENCE = SQL("silence", str)


async def open_alert(transaction: Transaction, alert: Alert) -> None:
    """Open it, or bring up to date the one of its key that is open."""
    await open_alerts(transaction, [alert])


async def open_alerts(transaction: Transaction, alerts: Sequence[Alert]) -> None:
    """Open them in one statement, or bring up to date those of their keys that are open."""
    await transaction.run(OPEN, {"standing": _json(alerts), "source_rule": SOURCE_RULE, "epoch": None})


async def resolve_alerts(transaction: Transaction, keys: Sequence[str]) -> None:
    """What these alerts were about is over."""
    await transaction.run(RESOLVE, {"keys": list(keys)})


async def report(transaction: Transaction, rule: str, standing: Sequence[Alert], *, epoch: int | None = None) -> int:
    """Make the open alerts of a rule those of `standing`; how many were opened, resolved or told anew.

    Raises `ValueError` where an alert's key is not the rule's.
    """
    for alert in standing:
        if alert.key.partition(":")[0] != rule:
            raise ValueError(f"alert {alert.key!r} is not of the rule {rule!r}")
    values = {"standing": _json(standing), "rule": rule, "epoch": epoch, "source_rule": SOURCE_RULE}
    return await transaction.only(REPORT, values)


async def list_alerts(transaction: Transaction, *, resolved: bool = False, limit: int = 200) -> list[AlertView]:
    """The open ones, the gravest first; with `resolved`, then those that are over, newest first."""
    return await transaction.rows(LIST, {"all": resolved, "limit": limit})


async def silence(transaction: Transaction, alert_id: int, *, silenced: bool, actor: str, reason: str) -> str:
    """Tell nobody of this alert any more, or again; its key. Raises `NotFound` for one that is not open."""
    check_text(reason, "reason", longest=1000)
    key = await transaction.value(SILENCE, {"id": alert_id, "silenced": silenced})
    if key is None:
        raise NotFound(f"no alert {alert_id} is open")
    action = "alert.silence" if silenced else "alert.unsilence"
    await audit.record(transaction, actor=actor, action=action, target=f"alert/{key}", detail={"reason": reason})
    return key


def _json(alerts: Sequence[Alert]) -> str:
    return jsonb([msgspec.structs.asdict(alert) for alert in alerts])
