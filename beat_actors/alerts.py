"""Alerts: rows that give the cause of a problem, its impact, what Beat does automatically, and one safe action.

An alert is opened once, kept up to date while its cause lasts, and resolved when the cause is gone. Opening, resolving and a rise in
severity are events in the outbox, written in the same transaction. An alert that another alert explains (a source that fails, a platform at
a standstill) sends no event while the other one is open. If its cause still lasts after that, its event is sent then.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec

from beat_actors import audit
from beat_actors.database import Statements, Transaction, jsonb
from beat_actors.errors import NotFound
from beat_actors.severities import SEVERITIES
from beat_actors.shapes import one_of
from beat_actors.text import check_text

SOURCE_RULE, PLATFORM_RULE = "source", "platform"
COVERING = (SOURCE_RULE, PLATFORM_RULE)
"""The rules whose alerts explain those of other rules about the sources that they cover; a later one also explains those of an earlier one."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """`key` begins with the rule's name and a colon, and is the same for as long as the cause is. `severity`: info, warning, critical.

    `source`: the source that it is about. `covers`: the sources about which it explains the alerts of other
    rules, `None`: its own. `platform`: the platform that it is about, `None`: that of the source, or no single one.
    `over_at`: when the cause is expected to be gone, where that is known. `again_after`: seconds
    after its opening in which an alert of this key is not opened a second time, unless it is more severe now.
    """

    key: str
    severity: str
    cause: str
    impact: str
    automatic: str
    action: str
    source: str | None = None
    covers: Sequence[str] | None = None
    platform: str | None = None
    over_at: datetime | None = None
    again_after: float = 0.0


class AlertView(msgspec.Struct, frozen=True, kw_only=True):
    """An alert. `silenced`: it sends no events, because an operator muted it or because another alert explains it. `over_at`: when its cause is
    expected to be gone, where that is known."""

    id: int
    key: str
    severity: Annotated[str, one_of(SEVERITIES)]
    cause: str
    impact: str
    automatic: str
    action: str
    source: str | None
    platform: str | None
    opened_at: datetime
    over_at: datetime | None
    resolved_at: datetime | None
    silenced: bool


SQL = Statements(__file__)
OPEN = SQL("open", int)
RESOLVE = SQL("resolve", int)
REPORT = SQL("report", int)
LIST = SQL("list", AlertView)
SILENCE = SQL("silence", str)


async def open_alert(transaction: Transaction, alert: Alert) -> None:
    """Open the alert, or update the open one with its key."""
    await open_alerts(transaction, [alert])


async def open_alerts(transaction: Transaction, alerts: Sequence[Alert]) -> None:
    """Open the alerts in one statement, or update the open ones with their keys."""
    await transaction.run(OPEN, {"standing": _json(alerts), "covering": list(COVERING), "epoch": None})


async def resolve_alerts(transaction: Transaction, keys: Sequence[str]) -> None:
    """Resolve the open alerts with these keys."""
    await transaction.run(RESOLVE, {"keys": list(keys)})


async def report(transaction: Transaction, rule: str, standing: Sequence[Alert], *, epoch: int | None = None) -> int:
    """Make `standing` the open alerts of the rule. Returns how many were opened, resolved or announced again.

    Raises `ValueError` where an alert's key is not the rule's.
    """
    for alert in standing:
        if alert.key.partition(":")[0] != rule:
            raise ValueError(f"alert {alert.key!r} is not of the rule {rule!r}")
    values = {"standing": _json(standing), "rule": rule, "epoch": epoch, "covering": list(COVERING)}
    return await transaction.only(REPORT, values)


async def list_alerts(transaction: Transaction, *, resolved: bool = False, limit: int = 200) -> list[AlertView]:
    """The open ones, the most severe first; with `resolved`, then the resolved ones, the last resolved first."""
    return await transaction.rows(LIST, {"all": resolved, "limit": limit})


async def silence(transaction: Transaction, alert_id: int, *, silenced: bool, actor: str, reason: str) -> str:
    """Mute or unmute an alert. Returns its key. Raises `NotFound` where the alert is not open."""
    check_text(reason, "reason", longest=1000)
    key = await transaction.value(SILENCE, {"id": alert_id, "silenced": silenced})
    if key is None:
        raise NotFound(f"no alert {alert_id} is open")
    action = "alert.silence" if silenced else "alert.unsilence"
    await audit.record(transaction, actor=actor, action=action, target=f"alert/{key}", detail={"reason": reason})
    return key


def _json(alerts: Sequence[Alert]) -> str:
    return jsonb(
        [{**msgspec.structs.asdict(alert), "platform": alert.platform or _platform(alert)} for alert in alerts]
    )


def _platform(alert: Alert) -> str | None:
    if alert.source is None:
        return None
    from beat_actors.platforms.registry import platform_of  # imports every platform

    return platform_of(alert.source)
