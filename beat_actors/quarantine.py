"""What could not be used is set aside here and looked at by people. The stages set aside payloads in their own statements."""

from collections.abc import Mapping
from typing import Any

import structlog

from beat_actors.database import Database, jsonb
from beat_actors.errors import BeatError

log = structlog.get_logger(__name__)

MOST_MESSAGES = 1000
"""Messages that may stand here unresolved: somebody who floods a queue is not to fill the database."""
# Counting stops at the limit, over an index of its own.
SET_ASIDE = """
INSERT INTO quarantine (kind, operation, error, detail)
SELECT 'message', %(queue)s, %(why)s, %(detail)s::jsonb
WHERE (SELECT count(*) FROM (
    SELECT FROM quarantine WHERE kind = 'message' AND resolved_at IS NULL LIMIT %(most)s) standing) < %(most)s
"""


class QuarantineFull(BeatError):
    """As many messages stand in quarantine as may; further ones stay where they are."""

    code = "quarantine_full"


async def set_aside_message(database: Database, queue: str, why: str, detail: Mapping[str, Any]) -> None:
    """Record a message that cannot be used. `detail` holds no more of it than is safe to keep.

    Raises `QuarantineFull` and `StorageUnavailable`.
    """
    values = {"queue": queue, "why": why, "detail": jsonb(detail), "most": MOST_MESSAGES}
    async with database.statements() as alone:
        if not await alone.run(SET_ASIDE, values):
            raise QuarantineFull(
                f"{MOST_MESSAGES} messages stand in quarantine; resolve them, and requeue the dead letters"
            )
    log.error("message_quarantined", queue=queue, why=why)
