"""What could not be used is set aside here and looked at by people. The stages set aside payloads in their own statements."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
import structlog

from beat_actors import audit
from beat_actors.database import Database, Statements, Transaction, jsonb
from beat_actors.errors import BadInput, BeatError, NotFound
from beat_actors.shapes import one_of
from beat_actors.text import check_text

log = structlog.get_logger(__name__)

MOST_MESSAGES = 1000
"""Messages that may stand here unresolved: somebody who floods a queue is not to fill the database."""
REPLAYABLE = ("malformed", "poison")
MOST_A_SECOND = 50.0
KINDS = ("malformed", "poison", "implausible", "message")


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """Open entries that look alike: the same kind, place, path and parser.

    `newest`: the id of the last one; `error` is its reason. `replaying`: those that are due to be read anew.
    """

    kind: Annotated[str, one_of(KINDS)]
    platform: str | None
    source: str | None
    operation: str | None
    path: str | None
    parser_version: int | None
    count: int
    first_at: datetime
    last_at: datetime
    newest: int
    replaying: int
    error: str


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was set aside, and why. What a provider answered is in its fetch's raw payload.

    `replay_at`: when it is read anew, or was; `outcome`: what came of it (`reparsed`, `refetched`, `not needed`, `gone`, `resolved`).
    """

    id: int
    at: datetime
    kind: str
    platform: str | None
    source: str | None
    operation: str | None
    parser_version: int | None
    fetch_id: int | None
    request_id: int | None
    error: str
    path: str | None
    detail: dict[str, Any] | None
    replay_at: datetime | None
    resolved_at: datetime | None
    outcome: str | None


class Replay(msgspec.Struct, frozen=True):
    """How many entries are to be read anew, and when the last of them is."""

    count: int
    last_at: datetime | None


SQL = Statements(__file__)
SET_ASIDE = SQL("set_aside")
CLUSTERS = SQL("clusters", Cluster)
ONE = SQL("one", Entry)
RESOLVE = SQL("resolve")
REPLAY = SQL("replay", Replay)


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


async def clusters(transaction: Transaction, *, limit: int = 100) -> list[Cluster]:
    """What stands in quarantine, by what looks alike, the most frequent first."""
    return await transaction.rows(CLUSTERS, {"limit": limit})


async def entry(transaction: Transaction, entry_id: int) -> Entry:
    """Raises `NotFound`."""
    found = await transaction.row(ONE, {"id": entry_id})
    if found is None:
        raise NotFound(f"nothing in quarantine has the id {entry_id}")
    return found


async def resolve(
    transaction: Transaction,
    kind: str,
    *,
    newest: int,
    actor: str,
    reason: str,
    platform: str | None = None,
    source: str | None = None,
    operation: str | None = None,
    path: str | None = None,
    parser_version: int | None = None,
) -> int:
    """Take what has been dealt with off the list; how many. `newest`: nothing that came after this id. Raises `BadInput`.

    The fields are those of a cluster: what is not named may be any. `path`: empty names what stands at none.
    """
    if kind not in KINDS:
        raise BadInput(f"a kind is {', '.join(KINDS)}", field="kind")
    check_text(reason, "reason", longest=1000)
    values = _cluster(kind, newest, platform, source, operation, path, parser_version)
    count = await transaction.run(RESOLVE, values)
    detail = {**values, "count": count, "reason": reason}
    await audit.record(
        transaction, actor=actor, action="quarantine.resolve", target=f"quarantine/{kind}", detail=detail
    )
    return count


async def replay(
    transaction: Transaction,
    kind: str,
    *,
    newest: int,
    actor: str,
    reason: str,
    platform: str | None = None,
    source: str | None = None,
    operation: str | None = None,
    path: str | None = None,
    parser_version: int | None = None,
    rate: float = 10.0,
) -> Replay:
    """Have what stands in quarantine read anew, `rate` entries a second, the oldest first: after a parser was mended.

    The payload that is kept is parsed again; only where it is kept no more is the provider asked again. `newest`: nothing that came
    after this id. The fields are those of a cluster, as in `resolve`. Raises `BadInput`.
    """
    if kind not in REPLAYABLE:
        raise BadInput(f"what can be read anew is {' or '.join(REPLAYABLE)}", field="kind")
    if not 0 < rate <= MOST_A_SECOND:
        raise BadInput(f"rate is more than 0 and at most {MOST_A_SECOND:g} a second", field="rate")
    check_text(reason, "reason", longest=1000)
    values = _cluster(kind, newest, platform, source, operation, path, parser_version) | {"rate": rate}
    due = await transaction.only(REPLAY, values)
    await audit.record(
        transaction,
        actor=actor,
        action="quarantine.replay",
        target=f"quarantine/{kind}",
        detail={**values, "count": due.count, "reason": reason},
    )
    return due


def _cluster(
    kind: str,
    newest: int,
    platform: str | None,
    source: str | None,
    operation: str | None,
    path: str | None,
    parser_version: int | None,
) -> dict[str, Any]:
    """Raises `BadInput` for what no entry can have."""
    texts = {"platform": platform, "source": source, "operation": operation, "path": path}
    for name, text in texts.items():
        check_text(text or "", name, longest=1000)
    if parser_version is not None and not 0 <= parser_version < 2**31:
        raise BadInput("parser_version is as the list shows it", field="parser_version")
    return {"kind": kind, "newest": newest, "parser_version": parser_version, **texts}
