"""Accepting requests: validate, then one statement that inserts each with its first fetch, lets it join the same work that is in
flight, or answers it from what is stored. What is returned is committed truth.

Two requests are the same work where platform, flow, parameters and account are the same: accounts do not learn from one another
what was asked. Work that is in flight is held by one request (a unique index); those that join it have no fetches of their own.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from beat_actors.access import grants
from beat_actors.access.grants import Use
from beat_actors.database import Composed, Database, Statements, Transaction, jsonb
from beat_actors.errors import BadInput, KeyReused, StorageUnavailable, SubjectErased
from beat_actors.failpoints import hit
from beat_actors.fetches.lanes import LaneKey, lane_ids
from beat_actors.logger import get_logger
from beat_actors.moments import planned
from beat_actors.platforms.interface import FetchSpec, Flow, Platform, Resume
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.requests.states import Priority
from beat_actors.requests.views import ITEM
from beat_actors.text import check_text
from beat_actors.traces.context import Context

log = get_logger(__name__)

MAX_TEXT = 2_000
MAX_KEY = 255
MAX_TAGS = 20
MAX_TAG = 255
MAX_AGE = 366 * 86_400
ROUNDS = 20
"""Tries of a statement that lost a race: each time, some other request was accepted."""


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request as a consumer words it; `prepare` checks it.

    `on_demand`: it was taken from the limits of on-demand requests. `deferred_to`: it is not begun before, because of `waiting_for`;
    then it neither leads nor follows.
    """

    platform: str
    flow: str
    params: Mapping[str, Any]
    priority: Priority = Priority.STANDARD
    account_id: str | None = None
    idempotency_key: str | None = None
    idempotency_owner: str = ""
    """Who chose the key; others may choose the same. Empty: the command line on the machine itself."""
    expires_at: datetime | None = None
    api_key_id: int | None = None
    """The key that it was asked with; `None` where it was asked on the machine itself."""
    on_demand: bool = False
    deferred_to: datetime | None = None
    waiting_for: str | None = None
    max_age: float = 0.0
    """Seconds: an answer that is not older is taken from what is stored, and nothing is fetched."""
    force: bool = False
    """Fetch, whatever is stored or in flight."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """What the consumer wants to find again on the request and its events."""
    batch_id: int | None = None
    """The batch that it belongs to."""
    trace: Context | None = None
    """The trace that its caller sent; it is not part of what was asked."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """`accepted_as`: `new`, with fetches of its own; `joined`, as the follower of a request in flight; `stored`, and complete already; or
    `remembered`, and failed already, because a provider said that it is missing or private and is not asked again yet.

    `created` is false where the idempotency key had been used for the same request before.
    """

    id: int
    created: bool
    accepted_as: str = "new"


class Marks(NamedTuple):
    """How far the runs before came, if there were any, and the database's time."""

    now: datetime
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """`work` is the same for requests that the same fetches answer, `digest` for those that say the same in all."""

    request: NewRequest
    params: dict[str, Any]
    first: FetchSpec
    lane: LaneKey
    resume: Resume | None
    work: bytes
    digest: bytes

    @property
    def use(self) -> Use | None:
        """The owner whose credential the request needs, and the account that asks. `None`: any credential serves, or no account asks."""
        if self.first.owner is None or self.request.account_id is None:
            return None
        return Use(self.request.account_id, self.request.platform, self.first.owner)


class Submitted(NamedTuple):
    """What became of the item `n`. `same`: whether its idempotency key, if it was used before, was used for the same. `escalated`: whether it made
    the fetches that it waits for more urgent, or later to expire."""

    n: int
    id: int
    accepted_as: str
    created: bool
    same: bool
    escalated: bool


SQL = Statements(__file__)
SUBMIT = SQL("submit", Submitted)
USED = SQL("used", bool)


def prepare(request: NewRequest) -> Prepared:
    """Check one request against its platform and flow. Raises `BadInput` and its kinds."""
    for name, value in (("account_id", request.account_id), ("idempotency_key", request.idempotency_key)):
        if value is not None:
            check_text(value, name, longest=MAX_KEY, one_line=True)
    if request.expires_at is not None:
        request = replace(request, expires_at=planned(request.expires_at, "expires_at"))
    platform = platform_named(request.platform)
    flow = platform.flow(request.flow)
    if not 0 <= request.max_age <= MAX_AGE:
        raise BadInput(f"max_age is 0 to {MAX_AGE} seconds", field="max_age")
    check_tags(request.tags)
    for name, value in request.params.items():
        if isinstance(value, str):
            check_text(value, f"params.{name}", longest=MAX_TEXT)
    return _with_params(request, platform, flow, request.params)


def check_tags(tags: Mapping[str, str]) -> None:
    """Raises `BadInput` for more tags, or longer ones, than are carried."""
    if len(tags) > MAX_TAGS:
        raise BadInput(f"a request carries {MAX_TAGS} tags at most", field="tags")
    for name, value in tags.items():
        check_text(name, "tags", longest=MAX_TAG)
        check_text(value, f"tags.{name}", longest=MAX_TAG)


def _with_params(request: NewRequest, platform: Platform, flow: Flow, params: Mapping[str, Any]) -> Prepared:
    validated = flow.validate(params)
    first = flow.first(validated)
    chain = platform.chains[first.operation]
    lane = LaneKey(platform.name, flow.name, first.operation, int(request.priority), chain, first.owner or "")
    worded = msgspec.to_builtins(validated)
    what = [platform.name, flow.name, worded, request.account_id]
    how = [int(request.priority), request.expires_at, request.max_age, request.force, dict(request.tags)]
    return Prepared(request, worded, first, lane, flow.resume, _digest(what), _digest(what + how))


def _digest(value: object) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(value, order="sorted"), digest_size=16).digest()


def keyed(prepared: Sequence[Prepared], key: str, owner: str = "", *, said: object = None) -> list[Prepared]:
    """One idempotency key of this owner for requests that are accepted together: a key for each, and one digest of all that was said.

    `said`: what was said beside them, as requests that were refused. Raises `BadInput` for a key that cannot be one.
    """
    check_key(key)
    whole = [item.digest.hex() for item in prepared]
    digest = _digest(whole if said is None else [whole, said])
    keys = [key, *(f"{key}{ITEM}{n}" for n in range(1, len(prepared)))]
    return [
        replace(item, request=replace(item.request, idempotency_key=one, idempotency_owner=owner), digest=digest)
        for item, one in zip(prepared, keys, strict=True)
    ]


def check_key(key: str) -> None:
    """Raises `BadInput` for an idempotency key that cannot be one."""
    check_text(key, "Idempotency-Key", longest=MAX_KEY, one_line=True)
    if not key.strip():
        raise BadInput("an idempotency key cannot be empty", field="Idempotency-Key")


async def key_was_used(database: Database, owner: str, key: str | None) -> bool:
    """Whether this owner has used the idempotency key before, so that its answer is repeated and nothing new is accepted."""
    if key is None:
        return False
    async with database.statements() as alone:
        return await alone.only(USED, {"owner": owner, "key": key})


async def submit(transaction: Transaction, prepared: Sequence[Prepared]) -> list[Accepted]:
    """Insert these requests, in order: one round trip, unless a lane is new, an owner is used or a race is lost.

    Raises `KeyReused`, `SubjectErased`, and `NotGranted` for an owner that an account may not use; then the transaction must not be committed.
    """
    hit("intake.before_commit")
    for use in await grants.missing(transaction, (item.use for item in prepared if item.use is not None)):
        raise grants.refusal(use)
    items = [await resumed(transaction, item) for item in prepared]
    lanes = {key: i for i, key in enumerate(dict.fromkeys(item.lane for item in items))}
    wanted = [{"i": i, **key._asdict()} for key, i in lanes.items()]
    left = [_row(n, item, lanes[item.lane]) for n, item in enumerate(items)]
    accepted: dict[int, Accepted] = {}
    for round_ in range(ROUNDS):
        for row in await transaction.rows(SUBMIT, {"lanes": jsonb(wanted), "items": jsonb(left)}):
            if row.accepted_as == "erased":
                raise SubjectErased(items[row.n].request.platform)
            if not row.same:
                key = items[row.n].request.idempotency_key
                raise KeyReused(f"idempotency key {key!r} was used for another request, {row.id}; nothing was accepted")
            accepted[row.n] = Accepted(row.id, row.created, row.accepted_as)
        left = [row for row in left if row["n"] not in accepted]
        if not left:
            return [accepted[n] for n in range(len(items))]
        if round_ == 0:
            await lane_ids(transaction, set(lanes))
    raise StorageUnavailable(f"{len(left)} requests lost {ROUNDS} races against others for the same work")


async def accept(database: Database, requests: Sequence[NewRequest]) -> list[Accepted]:
    """Check and insert these requests; as `insert`."""
    return await insert(database, [prepare(request) for request in requests])


async def insert(database: Database, prepared: Sequence[Prepared]) -> list[Accepted]:
    """Insert these requests, in order; when this returns, they are committed. Wake the brokers of their platforms afterwards.

    Raises `KeyReused`, `SubjectErased` and `NotGranted`, and then nothing was accepted.
    """
    # A statement alone commits itself, and spares two round trips. Several want all of them to be accepted, or none, and so does a key.
    alone = len(prepared) == 1 and prepared[0].request.idempotency_key is None
    async with database.statements() if alone else database.transaction() as opened:
        accepted = await submit(opened, prepared)
    committed()
    log.debug(
        "request.accepted",
        requests=[one.id for one in accepted],
        platforms=sorted({one.request.platform for one in prepared}),
        traces=sorted({one.request.trace.trace_id for one in prepared if one.request.trace is not None}),
    )
    return accepted


def committed() -> None:
    """Mark the point at which accepted requests are committed and nobody has been told of them."""
    hit("intake.after_commit")


async def resumed(transaction: Transaction, item: Prepared) -> Prepared:
    """The request with what it leaves open filled in from where the last run ended. It stays the work that it was worded as."""
    resume = item.resume
    if resume is None:
        return item
    platform = platform_named(item.request.platform)
    entity = platform.entity_in(resume.table)
    # Each account goes on from where its own runs ended: it cannot read what others' runs have listed.
    text = f"""SELECT clock_timestamp() AS now, (SELECT {resume.field} FROM "{entity.table}"
            WHERE {entity.key} = %s AND account_id = %s AND owner = %s) AS since"""  # noqa: S608 - declared
    about = (item.params[resume.param], item.request.account_id or "", item.first.owner or "")
    marks = await transaction.only(Composed("requests/intake.marks", text, Marks), about)
    found = {resume.since: marks.since, resume.until: marks.now}
    filled = {
        name: value.isoformat() for name, value in found.items() if value is not None and item.params[name] is None
    }
    filled_in = _with_params(item.request, platform, platform.flow(item.request.flow), {**item.params, **filled})
    return replace(filled_in, work=item.work, digest=item.digest)


def _row(n: int, item: Prepared, lane: int) -> dict[str, Any]:
    request = item.request
    return {
        "n": n,
        "platform": request.platform,
        "flow": request.flow,
        "params": item.params,
        "priority": int(request.priority),
        "account_id": request.account_id,
        "idempotency_key": request.idempotency_key,
        "idempotency_owner": None if request.idempotency_key is None else request.idempotency_owner,
        "expires_at": request.expires_at,
        "api_key_id": request.api_key_id,
        "on_demand": request.on_demand,
        "tags": dict(request.tags) or None,
        "batch_id": request.batch_id,
        "work_hex": item.work.hex(),
        "digest_hex": item.digest.hex(),
        "trace_hex": None if request.trace is None else request.trace.stored.hex(),
        "apart": request.force or request.deferred_to is not None,
        "max_age": request.max_age,
        "lane": lane,
        "operation": item.first.operation,
        "fetch_params": item.first.params,
        "cursor_source": item.first.source,
        "owner": item.first.owner,
        "not_before": request.deferred_to,
        "waiting_for": request.waiting_for,
    }
