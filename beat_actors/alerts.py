"""Alerts: what is wrong, what it means, what Beat does by itself, and the one safe action. Of each key at most one is open."""

from collections.abc import Collection
from dataclasses import astuple, dataclass

from beat_actors.database import Transaction

OPEN = """
INSERT INTO alert (key, severity, cause, impact, automatic, action) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (key) WHERE resolved_at IS NULL DO NOTHING
"""
RESOLVE = "UPDATE alert SET resolved_at = clock_timestamp() WHERE key = ANY(%s) AND resolved_at IS NULL"


@dataclass(frozen=True, slots=True)
class Alert:
    """`key` names the trouble: while it lasts, an alert of that key is open. `severity`: info, warning or critical."""

    key: str
    severity: str
    cause: str
    impact: str
    automatic: str
    action: str


async def open_alert(transaction: Transaction, alert: Alert) -> bool:
    """Whether it is new: one that is open already stays as it is."""
    return await transaction.run(OPEN, astuple(alert)) > 0


async def resolve_alerts(transaction: Transaction, keys: Collection[str]) -> int:
    """How many were open."""
    return await transaction.run(RESOLVE, (list(keys),)) if keys else 0
