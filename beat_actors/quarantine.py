"""The quarantine: items that could not be processed, for operators. The stages quarantine payloads in their own statements."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec

from beat_actors import audit
from beat_actors.database import Database, Statements, Transaction, jsonb
from beat_actors.errors import BadInput, BeatError, NotFound
from beat_actors.logger import get_logger
from beat_actors.payloads.reading import packed
from beat_actors.pipeline.records import unpack
from beat_actors.shapes import one_of
from beat_actors.text import check_text

log = get_logger(__name__)

MOST_MESSAGES = 1000
"""Messages that may stand here unresolved: somebody who floods a queue is not to fill the database."""
REPLAYABLE = ("malformed", "poison")
MOST_A_SECOND = 50.0
STOP_AT = 0.5
"""The share of payloads that may still be unreadable before a replay stops."""
MOST_SHOWN = 1_000_000
"""Characters of a payload that are shown."""
KINDS = ("malformed", "poison", "implausible", "message")


class QuarantineCluster(msgspec.Struct, frozen=True, kw_only=True):
    """Open entries with the same kind, source, operation, parser version, path, class of error and shape.

    `fingerprint`: names the cluster. `path`: without the places of items in lists. `shape`: names the structure of the payloads, or of the records where
    the rest of a page can be read (keys and types, no values); None where it is not known. `newest`: the id of the last entry. `error`: the reason
    of that entry; errors are of one class if they differ only in numbers and quoted values. `replaying`: how many entries are waiting for a replay.
    `share`: of the source's calls of the operation this week; None where none are counted.
    """

    fingerprint: str
    kind: Annotated[str, one_of(KINDS)]
    platform: str | None
    source: str | None
    operation: str | None
    path: str | None
    parser_version: int | None
    shape: str | None
    count: int
    first_at: datetime
    last_at: datetime
    newest: int
    replaying: int
    error: str
    share: float | None


class Selection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The open entries of a cluster, as somebody saw it. `newest`: no entry with a higher id. A field that is None matches any value, an
    empty `path` entries without one. `path`: that of a cluster, or of one entry."""

    kind: Annotated[str, one_of(KINDS)]
    newest: int
    platform: str | None = None
    source: str | None = None
    operation: str | None = None
    path: str | None = None
    parser_version: int | None = None
    fingerprint: str | None = None

    def checked(self, kinds: Sequence[str]) -> dict[str, Any]:
        """The parameters of a statement. Raises `BadInput` for what no entry can have."""
        if self.kind not in kinds:
            raise BadInput(f"kind is one of {', '.join(kinds)}", field="kind")
        for name in ("platform", "source", "operation", "path", "fingerprint"):
            check_text(getattr(self, name) or "", name, longest=1000)
        if self.parser_version is not None and not 0 <= self.parser_version < 2**31:
            raise BadInput("parser_version is as the list shows it", field="parser_version")
        return {name: getattr(self, name) for name in Selection.__struct_fields__}


class QuarantinedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An item that could not be processed, and the reason. The provider's answer is in the raw payload of its fetch.

    `shape`: names the structure of the payload or the record. `replay_at`: when the entry is replayed, or was. `outcome`: the result (`reparsed`, `refetched`, `not needed`, `gone`, `resolved`).
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
    shape: str | None
    detail: dict[str, Any] | None
    replay_at: datetime | None
    resolved_at: datetime | None
    outcome: str | None


class Payload(msgspec.Struct, frozen=True):
    """A provider's answer as text, reduced to the fields that its source declares. `bytes`: the length of the whole answer. `cut`: `text` holds only
    the beginning."""

    text: str
    bytes: int
    cut: bool


class Answered(NamedTuple):
    """A call: its fetch, and the time of its answer."""

    fetch_id: int
    payload_at: datetime


class ReplayPlan(msgspec.Struct, frozen=True):
    """How many entries are replayed, and when the last of them is due."""

    count: int
    last_at: datetime | None


SQL = Statements(__file__)
SET_ASIDE = SQL("set_aside")
CLUSTERS = SQL("clusters", QuarantineCluster)
ONE = SQL("one", QuarantinedEntry)
ANSWERED = SQL("answered", Answered)
RESOLVE = SQL("resolve")
REPLAY = SQL("replay", ReplayPlan)


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


async def clusters(transaction: Transaction, *, limit: int = 100) -> list[QuarantineCluster]:
    """The open entries of the quarantine, grouped into clusters, the most frequent first."""
    return await transaction.rows(CLUSTERS, {"limit": limit})


async def entry(transaction: Transaction, entry_id: int) -> QuarantinedEntry:
    """Raises `NotFound`."""
    found = await transaction.row(ONE, {"id": entry_id})
    if found is None:
        raise NotFound(f"nothing in quarantine has the id {entry_id}")
    return found


async def payload(database: Database, entry_id: int) -> Payload:
    """The payload of an entry, of which at most `MOST_SHOWN` characters are shown. Raises `NotFound`, and `ObjectsUnavailable` and
    `ObjectMissing` where it lies in the bucket."""
    async with database.statements() as alone:
        await entry(alone, entry_id)
        answered = await alone.row(ANSWERED, {"id": entry_id})
    if answered is None:
        raise NotFound(f"entry {entry_id} has no payload: it came from no call of a provider")
    try:
        frame = await packed(database, answered.fetch_id, answered.payload_at)
    except NotFound:
        raise NotFound(f"entry {entry_id} has no payload: it is past its retention") from None
    body = await asyncio.to_thread(unpack, frame)
    text = body.decode("utf-8", "backslashreplace")
    return Payload(text[:MOST_SHOWN], len(body), len(text) > MOST_SHOWN)


async def resolve(transaction: Transaction, selection: Selection, *, actor: str, reason: str) -> int:
    """Take entries that have been dealt with off the list; how many. Raises `BadInput`."""
    values = selection.checked(KINDS)
    check_text(reason, "reason", longest=1000)
    count = await transaction.run(RESOLVE, values)
    await _record(transaction, "resolve", selection.kind, {**values, "count": count, "reason": reason}, actor)
    return count


async def replay(
    transaction: Transaction,
    selection: Selection,
    *,
    actor: str,
    reason: str,
    rate: float = 10.0,
    stop_at: float = STOP_AT,
) -> ReplayPlan:
    """Have these entries read again, `rate` entries a second, the oldest first, after a parser was corrected.

    The payload that is kept is parsed again. Only where none is kept any more, the provider is asked again. Where more than the share `stop_at` of the
    last payloads still cannot be read, the rest is left as it was. Raises `BadInput`.
    """
    values = selection.checked(REPLAYABLE) | {"rate": rate, "stop_at": stop_at}
    if not 0 < stop_at <= 1:
        raise BadInput("stop_at is a share: more than 0 and at most 1", field="stop_at")
    if not 0 < rate <= MOST_A_SECOND:
        raise BadInput(f"rate is more than 0 and at most {MOST_A_SECOND:g} a second", field="rate")
    check_text(reason, "reason", longest=1000)
    due = await transaction.only(REPLAY, values)
    await _record(transaction, "replay", selection.kind, {**values, "count": due.count, "reason": reason}, actor)
    return due


async def _record(transaction: Transaction, verb: str, kind: str, detail: dict[str, Any], actor: str) -> None:
    action, target = f"quarantine.{verb}", f"quarantine/{kind}"
    await audit.record(transaction, actor=actor, action=action, target=target, detail=detail)
