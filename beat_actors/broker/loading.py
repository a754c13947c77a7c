"""What a turn reads: breakers, limits of whole sources, lanes, and of the credentials those that it can have a use for.

However many credentials there are, a turn loads those whose calls came back, and of each group that its lanes ask (a source's shared
credentials, or an owner's) at most `MOST_OF_GROUP`: those that can be used, in an order that each turn draws anew, then those that can be
used soonest. What is used up is known from `credential.full_until`, which the turn writes.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from beat_actors.broker.breaker import Breaker, Witnesses
from beat_actors.broker.outages import ALL_OWNERS, KINDS, OWNERS
from beat_actors.broker.state import BreakerKey, Budgets, Credential, Denial, Lane, Snapshot, Unread
from beat_actors.broker.windows import Window, subject_of
from beat_actors.database import Answer, Pipeline, Transaction, jsonb
from beat_actors.database.clock import StepWatch
from beat_actors.database.vitals import SEEN_WITHIN
from beat_actors.platforms.interface import Limit, Platform
from beat_actors.requests.intake import Priority

COLUMNS = """c.id, c.source, c.owner, c.weight, c.enabled, date_part('epoch', c.disabled_till) AS disabled_till,
       c.dead_at IS NOT NULL AS dead, c.denied, c.denials, c.ladder, date_part('epoch', c.ladder_at) AS ladder_at, c.probing,
       c.reported_remaining, date_part('epoch', c.reported_reset_at) AS reported_reset_at,
       c.disabled_reason, c.dead_reason, c.generation, c.refreshes, c.shared,
       c.dead_at IS NOT NULL AND (c.check_at IS NOT NULL OR c.refresh_at IS NOT NULL) AS unproven,
       date_part('epoch', c.dead_at) AS dead_since, c.dead_looks AS looks,
       CASE WHEN c.refreshes THEN date_part('epoch', c.expires_at) END AS good_until,
       date_part('epoch', c.refreshed_at) AS refreshed_at,
       date_part('epoch', c.full_until) AS full_until,
       date_part('epoch', c.updated_at) AS written"""
# Whether it may do none of the operations, and it is not yet time to see whether it may do one of those that it may not.
_DENIED = "(c.denied @> g.operations AND coalesce(c.denied_until > to_timestamp(%(now)s), false))"
CREDENTIALS = f"SELECT {COLUMNS} FROM credential c WHERE c.platform = %s AND c.id = ANY(%s)"  # noqa: S608 - constants
# Of each owner's group as many as are wanted, and how many it has; the group is found by an index. Those that may do none of the operations
# come after those that may.
OF_OWNERS = f"""
SELECT {COLUMNS}, g.i, one.usable, one.soonest, one.of
FROM jsonb_to_recordset(%(groups)s::jsonb) AS g(i integer, source text, owner text, operations text[])
CROSS JOIN LATERAL (
    SELECT id, usable, date_part('epoch', soonest) AS soonest, count(*) OVER () AS of
    FROM (
        SELECT c.id, c.enabled AND c.dead_at IS NULL AND NOT c.probing AND coalesce(soonest <= to_timestamp(%(now)s), true)
               AND NOT (c.refreshes AND coalesce(c.expires_at <= to_timestamp(%(now)s), true)) AND NOT {_DENIED} AS usable,
               CASE WHEN c.enabled AND c.dead_at IS NULL THEN CASE WHEN {_DENIED} THEN greatest(soonest, c.denied_until) ELSE soonest END END AS soonest
        FROM credential c CROSS JOIN LATERAL (SELECT greatest(
            c.disabled_till, c.full_until, CASE WHEN c.reported_remaining <= 0 THEN c.reported_reset_at END) AS soonest) s
        WHERE c.platform = %(platform)s AND c.source = g.source AND c.owner = g.owner
        OFFSET 0  -- so that each row is judged once
    ) judged
    ORDER BY usable DESC, CASE WHEN usable THEN hashint8extended(id, %(seed)s) END, soonest NULLS LAST, id LIMIT %(most)s
) one
CROSS JOIN LATERAL (SELECT * FROM credential WHERE id = one.id OFFSET 0) c
"""  # noqa: S608 - constants
_SHARED = "SELECT {what} FROM credential c WHERE platform = %(platform)s AND c.source = g.source AND shared"
_SOONEST, _HASH = "greatest(disabled_till, full_until)", "hashint8(c.id)"
_FITS = f"""enabled AND dead_at IS NULL AND NOT probing AND NOT {_DENIED}
    AND NOT (refreshes AND coalesce(expires_at <= to_timestamp(%(now)s), true))"""
_READY = f"{_SHARED.format(what='c.id, true, NULL')} AND {_FITS} AND {_SOONEST} IS NULL AND {_HASH}"
_OVER = f"{_SHARED.format(what='c.id, true, NULL::timestamptz')} AND {_FITS} AND {_SOONEST} <= to_timestamp(%(now)s) ORDER BY {_SOONEST}"
_LATER = f"{_SHARED.format(what=f'c.id, false, {_SOONEST}')} AND {_FITS} AND {_SOONEST} > to_timestamp(%(now)s) ORDER BY {_SOONEST}"
# The same of a source's shared credentials, of which there may be very many. Each part reads the first rows of an index and passes over
# those that do not fit, and is read only where those before it gave too few: a quarter of those whose rest is over, so that their probes
# are made however many others there are; those without one, from a place on that each turn draws anew; those that can be used later; the
# rest, of which there is enough among twice as many. `of` is one more than are wanted where there are more.
SHARED = f"""
SELECT {COLUMNS}, g.i, one.usable, one.soonest, one.of
FROM jsonb_to_recordset(%(groups)s::jsonb) AS g(i integer, source text, operations text[])
CROSS JOIN LATERAL (
    SELECT id, usable, date_part('epoch', soonest) AS soonest, found AS of
    FROM (
        SELECT *, count(*) OVER () AS found, row_number() OVER () AS place
        FROM (
            ({_OVER} LIMIT %(most)s / 4)
            UNION ALL ({_READY} >= %(place)s ORDER BY {_HASH} LIMIT %(most)s + 1)
            UNION ALL ({_READY} < %(place)s ORDER BY {_HASH} LIMIT %(most)s + 1)
            UNION ALL ({_OVER} OFFSET %(most)s / 4 LIMIT %(most)s + 1)
            UNION ALL ({_LATER} LIMIT %(most)s + 1)
            UNION ALL (SELECT c.id, false, NULL FROM (
                {_SHARED.format(what="*")} ORDER BY {_HASH} LIMIT 2 * (%(most)s + 1)
            ) c WHERE NOT ({_FITS}) LIMIT %(most)s + 1)
            LIMIT %(most)s + 1
        ) AS part(id, usable, soonest)
    ) judged WHERE place <= %(most)s
) one
CROSS JOIN LATERAL (SELECT * FROM credential WHERE id = one.id OFFSET 0) c
"""  # noqa: S608 - constants
SHARED = " ".join(SHARED.split())  # psycopg keeps what it parsed of a statement of at most 4,096 characters
# How many shared credentials a source has; asked where a group is larger than what was loaded, and not all of that can be used.
COUNT = f"""
SELECT g.i, ({_SHARED.format(what="count(*)")}) AS of FROM jsonb_to_recordset(%(groups)s::jsonb) AS g(i integer, source text)
"""  # noqa: S608 - constants
MOST_OF_GROUP, LEAST_OF_GROUP = 400, 100
# Calls that are out. To be read before the settlements are taken: what comes back in between then counts twice for one turn,
# and never not at all.
HELD = """
SELECT l.flow, f.source, f.operation, f.credential_id, count(*) FILTER (WHERE f.call_of IS NULL) AS calls
FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id WHERE f.platform = %(platform)s AND f.stage = 'LEASED' GROUP BY 1, 2, 3, 4
UNION ALL SELECT '', source, operation, credential_id, 1 FROM credential_call WHERE platform = %(platform)s
"""
# Calls that came back, and are charged by nobody yet.
UNTAKEN = """
SELECT '' AS flow, source, operation, credential_id, sum(calls)::integer AS calls
FROM settlement WHERE platform = %(platform)s AND credential_id > 0 AND outcome NOT IN ('unused', 'unreached') GROUP BY 1, 2, 3, 4
"""
_BREAKER = """coalesce(extract(epoch FROM since), 0)::double precision AS since, recent, trips,
       extract(epoch FROM open_until)::double precision AS open_until, probing, unreached"""
BREAKERS = f"""
SELECT source, operation, kind, '' AS owner, by_hand, {_BREAKER} FROM breaker WHERE platform = %(platform)s
UNION ALL
SELECT source, operation, kind, owner, false, {_BREAKER} FROM owner_breaker WHERE platform = %(platform)s AND owner = %(all_owners)s
"""  # noqa: S608 - constants
# The breakers of these owners; found by the index on (platform, owner).
OWNERS_BREAKERS = f"""
SELECT source, operation, kind, owner, false AS by_hand, {_BREAKER} FROM owner_breaker WHERE platform = %(platform)s AND owner = ANY(%(owners)s)
"""  # noqa: S608 - constants
# Of each (source, operation) at most so many breakers of owners that are open, whichever: enough of them are an outage of everybody's.
OPEN_BREAKERS = f"""
SELECT found.* FROM jsonb_to_recordset(%(calls)s::jsonb) AS n(source text, operation text), unnest(%(kinds)s::text[]) AS k(kind)
CROSS JOIN LATERAL (
    SELECT source, operation, kind, owner, false AS by_hand, {_BREAKER} FROM owner_breaker
    WHERE platform = %(platform)s AND source = n.source AND operation = n.operation AND kind = k.kind AND open_until IS NOT NULL LIMIT %(most)s
) found
"""  # noqa: S608 - constants
# Workers that report; the row of one that was killed is out of date within half a minute.
WORKERS = """
SELECT id, troubles ? 'network' AS cut_off FROM process
WHERE name = 'worker' AND seen_at > clock_timestamp() - make_interval(secs => %s)
"""
# The lanes that have something ready, at most `most` of each class: those that are not blocked first, from a place on that each turn draws
# anew, and round. It stops where it has found enough; lanes without anything ready cost one look into the index of what is ready each.
_LANES_FROM = """
(SELECT l.id, l.operation, l.priority, l.sources, l.owner, l.flow, {blocked} AS blocked FROM lane l CROSS JOIN LATERAL (
     SELECT FROM scrape_fetch WHERE lane_id BETWEEN l.id AND l.id AND stage = 'WAITING' AND not_before IS NULL LIMIT 1) ready
 WHERE l.platform = %(platform)s AND l.priority BETWEEN p.priority AND p.priority AND l.id {side} (SELECT (%(share)s * max(id))::integer FROM lane)
   AND (l.reasons IS NOT NULL AND coalesce(l.blocked_until > to_timestamp(%(now)s), true)) IS {blocked}
 ORDER BY l.platform, l.priority, l.id LIMIT %(most)s)
"""
LANES = f"""
SELECT lanes.* FROM unnest(%(priorities)s::smallint[]) AS p(priority) CROSS JOIN LATERAL (
{"UNION ALL".join(_LANES_FROM.format(blocked=blocked, side=side) for blocked in ("false", "true") for side in (">=", "<"))}
LIMIT %(most)s) lanes
ORDER BY id
"""  # noqa: S608 - constants
MOST_LANES = 100
"""Lanes that a turn looks at, and no more than the leases that it can give."""
LEAST_LANES = 12
"""Lanes of a class that a turn looks at, however many more urgent ones there are and however few leases it can give."""
USAGE = (
    "SELECT subject, limit_name, head, counts FROM credential_usage WHERE subject = ANY(%s) AND limit_name <> 'total'"
)


class Basis(NamedTuple):
    """Answers to what everyone asks who decides: the time, everybody's breakers, the windows of the platform's sources."""

    now: Answer[float]
    breakers: Answer[Any]
    usage: Answer[Any]


async def ask_basis(pipeline: Pipeline, platform: Platform) -> Basis:
    return Basis(
        await pipeline.now(),
        await pipeline.run(BREAKERS, {"platform": platform.name, "all_owners": ALL_OWNERS}),
        await pipeline.run(USAGE, ([subject_of("source", 0, name) for name in platform.sources],)),
    )


async def load_snapshot(
    transaction: Transaction,
    platform: Platform,
    credential_ids: Collection[int] = (),
    *,
    basis: Basis | None = None,
    returned: Sequence[Any] = (),
    budgets: Budgets | None = None,
    held: Sequence[Any] = (),
    seed: int = 0,
) -> Snapshot:
    """The platform's breakers, the windows of its sources, and these credentials with theirs and the breakers of their owners. Lanes are
    loaded when what came back has been moved, and groups of credentials with `load_groups`.

    `basis`: where it has been asked already. `returned`: rows of `settlement`, with whose credentials and owners it is the same. `held`: rows
    of HELD and UNTAKEN, calls that take room. `seed`: draws of groups that are too large which credentials are loaded. For a turn, take the
    platform's lock first.
    """
    if basis is None:
        async with transaction.pipeline() as pipeline:
            basis = await ask_basis(pipeline, platform)
    snapshot = Snapshot(
        float(basis.now.only),
        {},
        _breakers(basis.breakers.rows),
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
            found = await pipeline.run(CREDENTIALS, (platform.name, list(ids)))
            usage = await pipeline.run(USAGE, ([subject_of("credential", number, "") for number in ids],))
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
) -> list[Answer[Any]]:
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


def _add_breakers(snapshot: Snapshot, answers: Iterable[Answer[Any]]) -> None:
    for answer in answers:
        snapshot.breakers |= {
            key: breaker for key, breaker in _breakers(answer.rows).items() if key not in snapshot.breakers
        }


def _breakers(rows: Iterable[Any]) -> dict[BreakerKey, Breaker]:
    breakers = {}
    for row in rows:
        fields = row._asdict()
        fields["recent"] = tuple((bucket, calls, failures) for bucket, calls, failures in fields["recent"])
        fields["unreached"] = tuple((bucket, process, calls) for bucket, process, calls in fields["unreached"])
        key = (fields.pop("source"), fields.pop("operation"), fields.pop("kind"), fields.pop("owner"))
        breakers[key] = Breaker(**fields)
    return breakers


async def load_witnesses(transaction: Transaction) -> Witnesses:
    """Who can say whether a provider is reached."""
    found = await transaction.rows(WORKERS, (SEEN_WITHIN,))
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
    loaded: dict[int, list[Any]] = defaultdict(list)
    for row in found:
        loaded[row.i].append(row)
    sizes = {i: rows[0].of for i, rows in loaded.items()}
    cut = [group for group in shared if sizes.get(group["i"], 0) > len(loaded[group["i"]])]
    counted = [group for group in cut if not all(row.usable for row in loaded[group["i"]])]
    new = [_credential(row, transaction.clock) for row in found if row.id not in snapshot.credentials]
    limited = [subject_of("credential", one.id, "") for one in new if _is_limited(snapshot, one.source)]
    if counted or limited:
        async with transaction.pipeline() as pipeline:
            counts = await pipeline.run(COUNT, {**values, "groups": jsonb(counted)}) if counted else Answer[Any]()
            usage = await pipeline.run(USAGE, (limited,)) if limited else Answer[Any]()
        sizes |= {row.i: row.of for row in counts.rows}
        _add(transaction, snapshot, new, usage.rows)
    else:
        _add(transaction, snapshot, new, ())
    for i, key in enumerate(wanted):
        rows = loaded[i]
        if rows and sizes[i] > len(rows):
            # None of the others can be used before the last of these. Where all of these can, another turn reads others.
            times = [row.soonest for row in rows if not row.usable]
            until = snapshot.now + 1.0 if not times else None if None in times else max(times)
            snapshot.unread[key] = Unread(sizes[i] - len(rows), until, usable=not times)


def _is_limited(snapshot: Snapshot, source: str) -> bool:
    """Whether the source's credentials have limits of their own."""
    return any(limit.scope == "credential" for limit in snapshot.limits.get(source, ()))


def _add(transaction: Transaction, snapshot: Snapshot, credentials: Iterable[Credential], usage: Sequence[Any]) -> None:
    """Credentials that the snapshot does not have yet, with their windows and what is held of them. `usage`: rows of USAGE."""
    new = {one.id: one for one in sorted(credentials, key=lambda one: one.id)}
    snapshot.add(new.values())
    _add_windows(
        transaction, snapshot, usage, {f"credential:{one.id}": one.source for one in new.values()}, "credential"
    )
    for number in new.keys() & snapshot.held.keys():
        for row in snapshot.held[number]:
            _hold(snapshot, row, "credential")


def _credential(row: Any, clock: StepWatch) -> Credential:
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


def _hold(snapshot: Snapshot, row: Any, scope: str) -> None:
    """Take room for a call that is out, from the limits of this scope."""
    for limit in snapshot.limits.get(row.source, ()):
        if limit.scope == scope and (limit.operations is None or row.operation in limit.operations):
            snapshot.window(subject_of(scope, row.credential_id, row.source), limit).hold(row.calls)


async def ask_lanes(pipeline: Pipeline, platform: str, snapshot: Snapshot, room: int, rng: Random) -> Answer[Any]:
    """The lanes that have something ready, for a turn that can give at most `room` leases."""
    values = {"platform": platform, "now": snapshot.now, "share": rng.random(), "most": _most_lanes(room)}
    return await pipeline.run(LANES, {**values, "priorities": list(Priority)})


def _most_lanes(room: int) -> int:
    return max(LEAST_LANES, min(MOST_LANES, room))


def choose_lanes(snapshot: Snapshot, found: Sequence[Any], room: int, capacity: int, rng: Random) -> set[int]:
    """Set the lanes that a turn with `capacity` leases looks at. `found`: what `ask_lanes` found with `room`. The ids of those among them that
    were not blocked, where there are more such lanes than were chosen."""
    rows = _shared_out(found, _most_lanes(capacity), rng)
    snapshot.lanes = [
        Lane(row.id, row.operation, row.priority, tuple(row.sources), row.owner, row.flow) for row in rows
    ]
    unblocked = Counter(row.priority for row in found if not row.blocked)
    chosen = {row.id for row in rows if not row.blocked}
    return chosen if len(chosen) < unblocked.total() or _most_lanes(room) in unblocked.values() else set()


async def load_served(transaction: Transaction, platform: str, snapshot: Snapshot, capacity: int) -> None:
    """The credentials that the snapshot's lanes ask, and the breakers of their owners, for a turn with `capacity` leases."""
    wanted: dict[tuple[str, str], set[str]] = defaultdict(set)
    for lane in snapshot.lanes:
        for source in lane.sources:
            wanted[source, lane.owner].add(lane.operation)
    owners = [lane.owner for lane in snapshot.lanes]
    await load_groups(transaction, platform, snapshot, wanted, most=most_of_group(capacity), owners=owners)


def most_of_group(capacity: int) -> int:
    """Credentials of a group that a turn with `capacity` leases loads: two for each lease, since the limits of some are full."""
    return min(MOST_OF_GROUP, max(LEAST_OF_GROUP, 2 * capacity))


def _shared_out(found: Sequence[Any], most: int, rng: Random) -> list[Any]:
    """Of the rows of LANES `most`, those that are not blocked first, and of these those of the more urgent classes; and `LEAST_LANES` of each
    class in any case. In the order of their ids."""
    alike: dict[tuple[bool, int], list[Any]] = defaultdict(list)
    for row in found:
        alike[row.blocked, row.priority].append(row)
    chosen: list[Any] = []
    for _, rows in sorted(alike.items()):
        chosen += rng.sample(rows, min(len(rows), max(most - len(chosen), LEAST_LANES)))
    return sorted(chosen, key=lambda row: int(row.id))


def _add_windows(
    transaction: Transaction, snapshot: Snapshot, usage: Iterable[Any], subjects: Mapping[str, str], scope: str
) -> None:
    """The windows of this scope. `usage`: rows of USAGE; `subjects`: each with its source."""
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
