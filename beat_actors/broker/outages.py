"""What outcomes mean for breakers: whether a source is out for everybody, or for one owner. Pure.

All outcomes of a turn are counted before any is judged. Where an operation's call is an owner's, its outcome belongs to the owner's
own breaker: a shop that fails is no outage of the provider. The breaker of everybody opens when those of several owners are open
and most of the owners' calls fail. It needs no probe of its own then, since the owners' breakers have theirs.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Protocol

from beat_actors.broker.breaker import Breaker, Called
from beat_actors.broker.state import BreakerKey, Plan, Settlement, Snapshot
from beat_actors.platforms.interface import UPKEEP, Outcome, Platform

KINDS = ("upstream", "parser")
DATA = "data"
"""The kind of the breaker of a source whose answers are readable and wrong. `trust/breaker` decides about it, and a turn only reads it."""
OWNERS = 3
"""Owners whose breakers are open before everybody's opens."""
EVERYBODY, ALL_OWNERS = "", "*"
"""Owners of breakers that are no owner's: the source as a whole, and the count of all calls that were an owner's, which never opens."""


class Loaded(Protocol):
    """A breaker as it is stored; of one of the data, `trips` is the version of the parser."""

    @property
    def source(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def trips(self) -> int: ...


def is_current(platform: Platform, row: Loaded) -> bool:
    """Whether a breaker counts. One of the data is about one version of the parser: a new parser has one of its own."""
    if row.kind != DATA:
        return True
    source = platform.sources.get(row.source)
    endpoint = None if source is None else source.endpoints.get(row.operation)
    return endpoint is not None and endpoint.version == row.trips


def judge(snapshot: Snapshot, settlements: Sequence[Settlement], plan: Plan) -> None:
    """Apply what these settlements say to the snapshot's breakers."""
    counted: defaultdict[BreakerKey, list[Called]] = defaultdict(list)
    probes: list[tuple[BreakerKey, Called]] = []
    for settlement in settlements:
        kind = kind_of(settlement)
        if kind is not None:
            key = (settlement.source, settlement.operation, kind, settlement.owner)
            called = _called(snapshot, settlement)
            if settlement.probe:
                probes.append((key, called))
            if called.calls:
                counted[key].append(called)
    for key, outcomes in counted.items():
        _count(snapshot, key, outcomes, plan)
    for key, called in probes:
        _probe(snapshot, key, called, plan)
    for settlement in settlements:
        if settlement.probe and settlement.outcome is not Outcome.OK and kind_of(settlement) != "parser":
            # No answer came that a parser could judge, so its probe is still to be made.
            for kind in KINDS:
                for owner in {settlement.owner, EVERYBODY}:
                    _release_probe(snapshot, (settlement.source, settlement.operation, kind, owner), plan)


def kind_of(settlement: Settlement) -> str | None:
    """The kind of breaker that an outcome belongs to; `None` where it says nothing of the source."""
    if settlement.outcome in (Outcome.UNKNOWN, Outcome.UNUSED):
        return None
    # What comes back from a check or a refresh has no parser of its own: all of it is the source's.
    parser = settlement.outcome in (Outcome.PARSED, Outcome.MALFORMED) and settlement.operation not in UPKEEP
    return "parser" if parser else "upstream"


def _called(snapshot: Snapshot, settlement: Settlement) -> Called:
    began = settlement.at if settlement.began is None else settlement.began
    failed = settlement.outcome in (Outcome.UPSTREAM_DOWN, Outcome.UNREACHED, Outcome.MALFORMED)
    unreached_by = settlement.process if settlement.outcome is Outcome.UNREACHED else ""
    at = min(snapshot.now, snapshot.now if began is None else began)
    return Called(at, settlement.calls, failed, unreached_by, settlement.code)


def _count(snapshot: Snapshot, key: BreakerKey, outcomes: Sequence[Called], plan: Plan) -> None:
    source, operation, kind, owner = key
    before = snapshot.breakers.get(key, Breaker())
    after = before.judged(outcomes, snapshot.now, snapshot.witnesses)
    if owner == EVERYBODY:
        _put(snapshot, key, after, plan)
        return
    # An owner of whom nothing bad is known has no row.
    if key in snapshot.breakers or after.failures or after.open_until is not None:
        _put(snapshot, key, after, plan)
    whole, all_owners = (source, operation, kind, EVERYBODY), (source, operation, kind, ALL_OWNERS)
    everybody = snapshot.breakers.get(whole, Breaker())
    together = snapshot.breakers.get(all_owners, Breaker()).counted(outcomes)
    if together != snapshot.breakers.get(all_owners, Breaker()):
        _put(snapshot, all_owners, together, plan)
    if everybody.is_open(snapshot.now):
        return
    if everybody.needs_probe(snapshot.now) and any(
        not one.failed and one.began >= (everybody.open_until or 0.0) for one in outcomes
    ):
        _put(snapshot, whole, Breaker(since=snapshot.now), plan)
    elif any(one.failed for one in outcomes) and together.fails(snapshot.witnesses) and _are_many(snapshot, key):
        _put(snapshot, whole, replace(everybody, recent=together.recent).opened(snapshot.now, outcomes), plan)
        _put(snapshot, all_owners, Breaker(since=snapshot.now), plan)


def _are_many(snapshot: Snapshot, key: BreakerKey) -> bool:
    """Whether the breakers of so many owners are open that it is everybody's outage. Stops when it has seen enough of them."""
    source, operation, kind, _ = key
    opened = (
        other
        for other, breaker in snapshot.breakers.items()
        if breaker.open_until is not None and other[:3] == (source, operation, kind) and other[3] != EVERYBODY
    )
    return len(list(islice(opened, OWNERS))) == OWNERS


def _probe(snapshot: Snapshot, key: BreakerKey, called: Called, plan: Plan) -> None:
    breaker = snapshot.breakers.get(key)
    if breaker is not None:
        after = breaker.probed(called, snapshot.now, snapshot.witnesses)
        if after != breaker:
            _put(snapshot, key, after, plan)


def _release_probe(snapshot: Snapshot, key: BreakerKey, plan: Plan) -> None:
    breaker = snapshot.breakers.get(key)
    if breaker is not None and breaker.probing:
        _put(snapshot, key, replace(breaker, probing=False), plan)


def _put(snapshot: Snapshot, key: BreakerKey, breaker: Breaker, plan: Plan) -> None:
    snapshot.breakers[key] = breaker
    plan.touched_breakers.add(key)


def is_one_process_alone(snapshot: Snapshot, settlement: Settlement) -> bool:
    """Whether a call came to no connection for a reason that may be the calling process's own, as no other process has seen it."""
    if settlement.outcome is not Outcome.UNREACHED or open_until(snapshot, settlement) is not None:
        return False
    breaker = snapshot.breakers.get((settlement.source, settlement.operation, "upstream", settlement.owner), Breaker())
    return not breaker.is_confirmed(snapshot.witnesses)


def open_until(snapshot: Snapshot, settlement: Settlement) -> float | None:
    """Until when the source's breaker is open in this operation, for this owner or for everybody; `None` where it is closed."""
    keys = [(settlement.source, settlement.operation, "upstream", owner) for owner in {settlement.owner, EVERYBODY}]
    found = [snapshot.breakers[key] for key in keys if key in snapshot.breakers]
    return max((b.open_until for b in found if b.open_until is not None and b.is_open(snapshot.now)), default=None)
