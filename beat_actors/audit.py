"""The audit log: a row for everything that an operator writes, through the API or the command line.

Record in the transaction of the change, and before it where the change is not PostgreSQL's own: what cannot be recorded is not done.
"""

from collections.abc import Mapping
from typing import Any

from beat_actors.database import Transaction, jsonb

RECORD = "INSERT INTO audit_log (actor, action, target, detail) VALUES (%s, %s, %s, %s::jsonb)"


async def record(
    transaction: Transaction, *, actor: str, action: str, target: str, detail: Mapping[str, Any] | None = None
) -> None:
    """`actor`: who; `action`: noun and verb, as in `queue.purge`; `target`: what it was done to, as in `queue/ingest`.

    `detail` is what one needs to understand it later, and never a secret.
    """
    await transaction.run(RECORD, (actor, action, target, jsonb(detail or {})))
