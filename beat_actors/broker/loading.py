"""What a turn reads: breakers, limits of whole sources, and of the credentials those that it can have a use for.

However many credentials there are, a turn loads those whose calls came back, and of each group that its lanes ask (a source's shared
credentials, or an owner's) at most `MOST_OF_GROUP`: those that can be used, in an order that each turn draws anew, then those that can be
used soonest. What is used up is known from `credential.full_until`, which the turn writes.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import msgspec

from beat_actors.broker.breaker import Breaker, OpenedBy, Witnesses
from beat_actors.broker.outages import ALL_OWNERS, KINDS, OWNERS, is_current
from beat_actors.broker.returns import SettlementRow
from beat_actors.broker.state import BreakerKey, Budgets, Credential, Denial, Snapshot, Unread
from beat_actors.broker.windows import Window, subject_of
from beat_actors.database import Answer, Pipeline, Statements, Transaction, jsonb
from beat_actors.database.clock import Step, StepWatch
from beat_actors.database.processes import SEEN_WITHIN
from beat_actors.platforms.interface import Limit, Platform

SQL = Statements(__file__)
MOST_OF_GROUP, LEAST_OF_GROUP = 400, 100


class CredentialRow(NamedTuple):
    """A credential; where it was loaded with a group, the group's number `i`, whether and from when on the credential can be used, and of how
    many it is one. Times are epoch seconds."""

    id: int
    source: str
    owner: str | None
    weight: int
    enabled: bool
    disabled_till: float | None
    dead: bool
    denied: list[str]
    denials: dict[str, dict[str, Any]]
    ladder: int
    ladder_at: float | None
    probing: bool
    reported_remaining: int | None
    reported_reset_at: float | None
    disabled_reason: str | None
    dead_reason: str | None
    generation: int
    refreshes: bool
    shared: bool
    unproven: bool
    dead_since: float | None
    looks: int
    good_until: float | None
    refreshed_at: float | None
    full_until: float | None
    written: float
    i: int
    usable: bool
    soonest: float | None
    of: int


class Held(NamedTuple):
    """Calls that take room: they are out, or came back and are charged by nobody yet."""

    flow: str
    source: str
    operation: str
    credential_id: int
    calls: int


class BreakerRow(NamedTuple):
    """A breaker, of everybody's calls where `owner` is empty. Times are epoch seconds."""

    source: str
    operation: str
    kind: str
    owner: str
    by_hand: bool
    since: float
    recent: list[tuple[int, int, int]]
    trips: int
    open_until: float | None
    probing: bool
    unreached: list[tuple[int, str, int]]
    opened_by: dict[str, Any] | None


class UsageRow(NamedTuple):
    subject: str
    limit_name: str
    head: int
    counts: list[int]


class GroupSize(NamedTuple):
    i: int
    of: int


class WorkerRow(NamedTuple):
    id: str
    cut_off: bool


CREDENTIALS = SQL("credentials", CredentialRow)
OF_OWNERS = SQL("of_owners", CredentialRow)
SHARED = SQL("shared", CredentialRow)
COUNT = SQL("count", GroupSize)
HELD = SQL("held", Held)
UNTAKEN = SQL("untaken", Held)
BREAKERS = SQL("breakers", BreakerRow)
OWNERS_BREAKERS = SQL("owners_breakers", BreakerRow)
OPEN_BREAKERS = SQL("open_breakers", BreakerRow)
WORKERS = SQL("workers", WorkerRow)
CLOCK_STEPS = SQL("clock_steps", list)
USAGE = SQL("usage", UsageRow)


class Basis(NamedTuple):
    """Answers to what everyone asks who decides: the time, everybody's breakers, the windows of the platform's sources."""

    now: Answer[float]
    breakers: Answer[BreakerRow]
    usage: Answer[UsageRow]


async def ask_basis(pipeline: Pipeline, platform: Platform) -> Basis:
    return Basis(
        await pipeline.now(),
        await pipeline.run(BREAKERS, {"platform": platform.name, "all_owners": ALL_OWNERS}),
        await pipeline.run(USAGE, {"subjects": [subject_of("source", 0, name) for name in platform.sources]}),
    )


async def learn_steps(transaction: Transaction) -> None:
    """Learn of steps forth of the clock from before this process began to look, by which what was charged before them has to be moved."""
    if transaction.clock.learns:
        rows = await transaction.rows(CLOCK_STEPS)
        transaction.clock.learn([Step(**step) for step in steps] for steps in rows)


async def load_snapshot(
    transaction: Transaction,
    platform: Platform,
    credential_ids: Collection[int] = (),
    *,
    basis: Basis | None = None,
    returned: Sequence[SettlementRow] = (),
    budgets: Budgets | None = None,
    held: Sequence[Held] = (),
    seed: int = 0,
) -> Snapshot:
    """The platform's breakers, the windows of its sources, and these credentials with theirs and the breakers of their owners. Lanes are
    loaded when what came back has been moved, and groups of credentials with `load_groups`.

    `basis`: where it has been asked already. `returned`: what came back, with whose credentials and owners it is the same. `held`: calls
    that take room. `seed`: draws of groups that are too large which credentials are loaded. For a turn, take the
    platform's lock first.
    """
    if basis is None:
        async with transaction.pipeline() as pipeline:
            basis = await ask_basis(pipeline, platform)
    await learn_steps(transaction)
    snapshot = Snapshot(
        float(basis.now.only),
        {},
        _breakers(row for row in basis.breakers.rows if is_current(platform, row)),
        (),
        {},
        {name: source.limits for name, source in platform.sources.items()},
        budgets or Budgets(),
        many={
            (source.name, operation): endpoint.many.size
            for source in platform.sources.values()
            for operation, endpoint in source.endpoints.items()
            if endpoint.many is not None
        },
        checks=frozenset(source.name for source in platform.sources.values() if source.check is not None),
        seed=seed,
    )
    sources = {subject_of("source", 0, name): name for name in platform.sources}
    _add_windows(transaction, snapshot, basis.usage.rows, sources, "source")
    snapshot.held = defaultdict(list)
    for row in held:
        snapshot.held[row.credential_id].append(row)
        _hold(snapshot, row, "source")
    ids = {*credential_ids, *(row.credential_id for row in returned)}
    if ids:
        async with transaction.pipeline() as pipeline:
            found = await pipeline.run(CREDENTIALS, {"platform": platform.name, "ids": list(ids)})
            usage = await pipeline.run(USAGE, {"subjects": [subject_of("credential", number, "") for number in ids]})
        _add(transaction, snapshot, [_credential(row, transaction.clock) for row in found.rows], usage.rows)
    owners = {credential.breaks_for for credential in snapshot.credentials.values()} | {row.owner for row in returned}
    if owners - {""}:
        called = {(row.source, row.operation) for row in returned}
        async with transaction.pipeline() as pipeline:
            breakers = await _ask_breakers(pipeline, platform.name, snapshot, owners, called)
        _add_breakers(snapshot, breakers)
    return snapshot


async def _ask_breakers(
    pipeline: Pipeline,
    platform: str,
    snapshot: Snapshot,
    owners: Iterable[str],
    called: Collection[tuple[str, str]] = (),
) -> list[Answer[BreakerRow]]:
    """The breakers of these owners that the snapshot does not have yet. `called`: (source, operation) of outcomes that are to be judged, for
    which it matters whether the breakers of several owners are open."""
    names = sorted({owner for owner in owners if owner} - {key[3] for key in snapshot.breakers})
    if not names:
        return []
    answers = [await pipeline.run(OWNERS_BREAKERS, {"platform": platform, "owners": names})]
    if called:
        calls = jsonb([{"source": source, "operation": operation} for source, operation in called])
        # As many more as may be closed by the outcomes.
        values = {"platform": platform, "calls": calls, "kinds": list(KINDS), "most": OWNERS + len(names)}
        answers.append(await pipeline.run(OPEN_BREAKERS, values))
    return answers


def _add_breakers(snapshot: Snapshot, answers: Iterable[Answer[BreakerRow]]) -> None:
    for answer in answers:
        snapshot.breakers |= {
            key: breaker for key, breaker in _breakers(answer.rows).items() if key not in snapshot.breakers
        }


def _breakers(rows: Iterable[BreakerRow]) -> dict[BreakerKey, Breaker]:
    return {
        (row.source, row.operation, row.kind, row.owner): Breaker(
            by_hand=row.by_hand,
            since=row.since,
            recent=tuple((bucket, calls, failures) for bucket, calls, failures in row.recent),
            trips=row.trips,
            open_until=row.open_until,
            probing=row.probing,
            unreached=tuple((bucket, process, calls) for bucket, process, calls in row.unreached),
            opened_by=None if row.opened_by is None else msgspec.convert(row.opened_by, OpenedBy),
        )
        for row in rows
    }


async def load_witnesses(transaction: Transaction) -> Witnesses:
    """Who can say whether a provider is reached."""
    found = await transaction.rows(WORKERS, {"seconds": SEEN_WITHIN})
    cut_off = frozenset(row.id for row in found if row.cut_off)
    return Witnesses(frozenset(row.id for row in found) - cut_off, cut_off)


async def load_groups(
    transaction: Transaction,
    platform: str,
    snapshot: Snapshot,
    wanted: Mapping[tuple[str, str], Iterable[str]],
    *,
    most: int = MOST_OF_GROUP,
    owners: Iterable[str] = (),
) -> None:
    """Of these groups, (source, owner) -> the operations that are asked for, what a turn has a use for, at most `most` of each; with no owner,
    the shared ones. With it the breakers of these owners."""
    groups: list[dict[str, Any]] = [
        {"i": i, "source": source, "owner": owner, "operations": sorted(operations)}
        for i, ((source, owner), operations) in enumerate(wanted.items())
    ]
    values = {"platform": platform, "now": snapshot.now, "seed": snapshot.seed, "most": most}
    values["place"] = Random(snapshot.seed).getrandbits(32) - 2**31
    of_owners = [group for group in groups if group["owner"]]
    shared = [group for group in groups if not group["owner"]]
    async with transaction.pipeline() as pipeline:
        breakers = await _ask_breakers(pipeline, platform, snapshot, owners)
        answers = [
            await pipeline.run(sql, {**values, "groups": jsonb(of)})
            for sql, of in ((OF_OWNERS, of_owners), (SHARED, shared))
            if of
        ]
    _add_breakers(snapshot, breakers)
    found = [row for answer in answers for row in answer.rows]
    loaded: dict[int, list[CredentialRow]] = defaultdict(list)
    for row in found:
        loaded[row.i].append(row)
    sizes = {i: rows[0].of for i, rows in loaded.items()}
    cut = [group for group in shared if sizes.get(group["i"], 0) > len(loaded[group["i"]])]
    counted = [group for group in cut if not all(row.usable for row in loaded[group["i"]])]
    new = [_credential(row, transaction.clock) for row in found if row.id not in snapshot.credentials]
    limited = [subject_of("credential", one.id, "") for one in new if _is_limited(snapshot, one.source)]
    if counted or limited:
        async with transaction.pipeline() as pipeline:
            counts = await pipeline.run(COUNT, {**values, "groups": jsonb(counted)}) if counted else Answer[GroupSize]()
            usage = await pipeline.run(USAGE, {"subjects": limited}) if limited else Answer[UsageRow]()
        sizes |= {row.i: row.of for row in counts.rows}
        _add(transaction, snapshot, new, usage.rows)
    else:
        _add(transaction, snapshot, new, ())
    for i, key in enumerate(wanted):
        rows = loaded[i]
        if rows and sizes[i] > len(rows):
            # None of the others can be used before the last of these. Where all of these can, another turn reads others.
            times = [row.soonest for row in rows if not row.usable]
            dated = [at for at in times if at is not None]
            until = snapshot.now + 1.0 if not times else max(dated) if len(dated) == len(times) else None
            snapshot.unread[key] = Unread(sizes[i] - len(rows), until, usable=not times)


def _is_limited(snapshot: Snapshot, source: str) -> bool:
    """Whether the source's credentials have limits of their own."""
    return any(limit.scope == "credential" for limit in snapshot.limits.get(source, ()))


def _add(
    transaction: Transaction, snapshot: Snapshot, credentials: Iterable[Credential], usage: Sequence[UsageRow]
) -> None:
    """Credentials that the snapshot does not have yet, with their windows and what is held of them."""
    new = {one.id: one for one in sorted(credentials, key=lambda one: one.id)}
    snapshot.add(new.values())
    _add_windows(
        transaction, snapshot, usage, {f"credential:{one.id}": one.source for one in new.values()}, "credential"
    )
    for number in new.keys() & snapshot.held.keys():
        for row in snapshot.held[number]:
            _hold(snapshot, row, "credential")


def _credential(row: CredentialRow, clock: StepWatch) -> Credential:
    # A step forth does not shorten what the provider asked for.
    disabled_till = clock.moved_rest(row.disabled_till, row.written)
    reported_reset_at = clock.moved_rest(row.reported_reset_at, row.written)
    return Credential(
        row.id,
        row.source,
        row.owner,
        row.weight,
        row.enabled,
        disabled_till,
        row.dead,
        frozenset(row.denied),
        {operation: Denial(**said) for operation, said in row.denials.items()},
        row.ladder,
        row.ladder_at,
        row.probing,
        row.reported_remaining,
        reported_reset_at,
        row.disabled_reason,
        row.dead_reason,
        row.generation,
        row.unproven,
        row.dead_since,
        row.looks,
        refreshes=row.refreshes,
        good_until=row.good_until,
        refreshed_at=row.refreshed_at,
        shared=row.shared,
        full_until=row.full_until,
        changed=(disabled_till, reported_reset_at) != (row.disabled_till, row.reported_reset_at),
    )


def _hold(snapshot: Snapshot, row: Held, scope: str) -> None:
    """Take room for a call in flight, from the limits of this scope."""
    for limit in snapshot.limits.get(row.source, ()):
        if limit.scope == scope and (limit.operations is None or row.operation in limit.operations):
            snapshot.window(subject_of(scope, row.credential_id, row.source), limit).hold(row.calls)


async def load_served(transaction: Transaction, platform: str, snapshot: Snapshot, capacity: int) -> None:
    """The credentials that the snapshot's lanes ask, and the breakers of their owners, for a turn with `capacity` leases."""
    wanted: dict[tuple[str, str], set[str]] = defaultdict(set)
    for lane in snapshot.lanes:
        for source in lane.sources:
            wanted[source, lane.owner].add(lane.operation)
    owners = [lane.owner for lane in snapshot.lanes]
    await load_groups(transaction, platform, snapshot, wanted, most=most_of_group(capacity), owners=owners)


def most_of_group(capacity: int) -> int:
    """Credentials of a group that a turn with `capacity` leases loads: three for two leases, since the limits of some are full."""
    return min(MOST_OF_GROUP, max(LEAST_OF_GROUP, capacity + capacity // 2))


def _add_windows(
    transaction: Transaction, snapshot: Snapshot, usage: Iterable[UsageRow], subjects: Mapping[str, str], scope: str
) -> None:
    """The windows of this scope. `subjects`: each with its source."""
    limits: dict[str, dict[str, Limit]] = {
        source: {limit.name: limit for limit in declared if limit.scope == scope}
        for source, declared in snapshot.limits.items()
    }
    steps = [(step.before, step.seconds) for step in transaction.clock.steps]
    for row in usage:
        limit = limits.get(subjects.get(row.subject, ""), {}).get(row.limit_name)
        if limit is not None:
            window = Window(row.subject, limit, snapshot.now, row.head, row.counts, steps)
            snapshot.windows[row.subject, row.limit_name] = window
