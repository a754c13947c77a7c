"""The audit log: a row for everything that an operator writes, through the API or the command line.

Record in the transaction of the change, and before it where the change is not PostgreSQL's own: what cannot be recorded is not done.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from beat_actors.database import Statements, Transaction, jsonb


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A change by an operator or by a key. `target`: what was changed."""

    id: int
    at: datetime
    actor: str
    action: str
    target: str
    detail: dict[str, Any]


SQL = Statements(__file__)
RECORD = SQL("record")
ENTRIES = SQL("entries", AuditEntry)


async def record(
    transaction: Transaction, *, actor: str, action: str, target: str, detail: Mapping[str, Any] | None = None
) -> None:
    """`actor`: who; `action`: noun and verb, as in `queue.purge`; `target`: what it was done to, as in `queue/ingest`.

    `detail` is what one needs to understand it later, and never a secret.
    """
    values = {"actor": actor, "action": action, "target": target, "detail": jsonb(detail or {})}
    await transaction.run(RECORD, values)


async def entries(
    transaction: Transaction, *, target: str | None = None, actor: str | None = None, limit: int = 50
) -> list[AuditEntry]:
    """What was changed, newest first; of one target or by one actor, where they are named."""
    wanted = {"target": target, "actor": actor, "limit": limit}
    return await transaction.rows(ENTRIES, wanted)
