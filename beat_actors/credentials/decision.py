"""The CredentialBroker's decision: (waiting fetches, credentials, usage, breakers, now) -> (leases, waits).

Pure: no I/O, no clock, no randomness but the generator that is passed in, so that the same inputs give the same plan.
"""

from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from random import Random

from beat_actors.credentials.limits import CUSTOMER, Window
from beat_actors.credentials.settle import settle, windows_of
from beat_actors.credentials.state import (
    Blocked,
    BreakerKey,
    Candidate,
    Credential,
    FlowRoom,
    Lane,
    Lease,
    Plan,
    Reason,
    Settlement,
    Snapshot,
)

# A class gains one rank for each ten minutes that its fetch has waited, so that batch work is slow and never starved.
AGEING = 600.0
KINDS = ("upstream", "parser")


class Desk:
    """Picks credentials, and remembers what was given out during the turn."""

    def __init__(self, snapshot: Snapshot, rng: Random) -> None:
        self.snapshot = snapshot
        self.rng = rng
        self._pools: dict[tuple[str, str, bool, str], Pool] = {}
        self._probed: set[tuple[str, str]] = set()

    def pick(self, lane: Lane, fetch_id: int) -> Lease | None:
        """The first source of the lane that has room, and in it a credential at random by weight. Takes room for the call."""
        chosen = self._choose(lane)
        return None if chosen is None else self._lease(*chosen, lane, fetch_id)

    def has_room(self, lane: Lane) -> bool:
        return self._choose(lane) is not None

    def _choose(self, lane: Lane) -> tuple[str, Credential] | None:
        """The first source that can be called. One that is only crowded is waited for, not passed over: it will have room
        when the first of its calls comes back, and the chain's order is the order of preference."""
        flow = self.snapshot.flows.get(lane.flow)
        if flow is not None and flow.is_full:
            return None
        for source in lane.sources:
            if self._probe_state(source, lane.operation) is None:
                continue
            credential = self._pool(source, lane).find(self.rng)
            if credential is not None:
                return None if self._crowded(source, lane.operation) else (source, credential)
        return None

    def blocked(self, lane: Lane) -> Blocked:
        """Why nothing can be leased in the lane, and the earliest time at which that may change."""
        flow = self.snapshot.flows.get(lane.flow)
        if flow is not None and flow.is_full:
            reason = _flow_reason(flow, self.snapshot.now)
            return Blocked(lane.id, reason.until, (reason,))
        reasons = [reason for source in lane.sources for reason in self._reasons(source, lane)]
        times = [reason.until for reason in reasons if reason.until is not None]
        return Blocked(lane.id, min(times, default=None), tuple(reasons))

    def reserve(self, credential: Credential, operation: str) -> bool | None:
        """Take room for a call for the credential's own sake. `None`: it may not be made now; else whether it is a probe."""
        now, source = self.snapshot.now, credential.source
        if (
            not credential.enabled
            or credential.probing
            or credential.rests(now)
            or exhausted_by_report(credential, now)
        ):
            return None
        windows = windows_of(self.snapshot, credential.id, source, operation)
        if self._probe_state(source, operation) is None or self._crowded(source, operation) or not has_room(windows):
            return None
        take(credential, windows)
        return self._begin(credential, operation)

    def _lease(self, source: str, credential: Credential, lane: Lane, fetch_id: int) -> Lease:
        self._pool(source, lane).take(credential)
        if lane.flow in self.snapshot.flows:
            self.snapshot.flows[lane.flow].out += 1
        return Lease(fetch_id, source, credential.id, self._begin(credential, lane.operation))

    def _begin(self, credential: Credential, operation: str) -> bool:
        """Note that the call goes out. Whether it is a probe."""
        source = credential.source
        if (source, operation) in self.snapshot.room:
            self.snapshot.room[source, operation] -= 1
        probe = bool(self._probe_state(source, operation))
        if probe:
            self._start_probe(source, operation)
        if credential.needs_probe(self.snapshot.now):
            credential.probing = credential.changed = probe = True
        return probe

    def _crowded(self, source: str, operation: str) -> bool:
        """Whether as many calls are out as may be before the first of them has come back."""
        return self.snapshot.room.get((source, operation), 1) <= 0

    def _probe_state(self, source: str, operation: str) -> bool | None:
        """`None`: the source may not be called. `True`: one probe may go. `False`: it is open to all."""
        probe = False
        for kind in KINDS:
            breaker = self.snapshot.breakers.get((source, operation, kind))
            if breaker is None or breaker.open_until is None:
                continue
            if breaker.is_open(self.snapshot.now) or breaker.probing:
                return None
            probe = True
        return probe

    def _start_probe(self, source: str, operation: str) -> None:
        for kind in KINDS:
            key = (source, operation, kind)
            breaker = self.snapshot.breakers.get(key)
            if breaker is not None and breaker.needs_probe(self.snapshot.now):
                self.snapshot.breakers[key] = replace(breaker, probing=True)
                self._probed.add((source, operation))

    @property
    def probed(self) -> Iterable[BreakerKey]:
        """The breakers of the sources and operations that were given a probe."""
        keys = ((source, operation, kind) for source, operation in self._probed for kind in KINDS)
        return [key for key in keys if key in self.snapshot.breakers]

    def _pool(self, source: str, lane: Lane) -> "Pool":
        key = (source, lane.operation, lane.priority == CUSTOMER, lane.owner)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(self.snapshot, source, lane)
        return pool

    def _reasons(self, source: str, lane: Lane) -> list[Reason]:
        now = self.snapshot.now
        for kind in KINDS:
            breaker = self.snapshot.breakers.get((source, lane.operation, kind))
            if breaker is not None and breaker.is_open(now):
                why = "unreadable answers: its parser breaker is open"
                if kind == "upstream":
                    why = "drained by hand: nothing is sent to it" if breaker.by_hand else "outage: its breaker is open"
                return [Reason(source, why, breaker.open_until)]
            if breaker is not None and breaker.probing:
                return [Reason(source, "one probe is out to see whether it is back", now + 5.0)]
        if self._crowded(source, lane.operation):
            return [Reason(source, "as many calls are out as may be at once", now + 0.5)]
        own = [credential for credential in self.snapshot.credentials.values() if belongs(credential, source, lane)]
        if not own:
            of = f" of {lane.owner}" if lane.owner else ""
            return [Reason(source, f"it has no credential{of}", None)]
        return [self._credential_reason(credential, lane) for credential in own]

    def _credential_reason(self, credential: Credential, lane: Lane) -> Reason:
        now = self.snapshot.now

        def because(why: str, until: float | None) -> Reason:
            return Reason(credential.source, why, until, credential.id)

        if credential.dead:
            return because(f"dead: {credential.dead_reason or 'revoked or expired'}", None)
        if not credential.enabled:
            return because("disabled by hand", None)
        if lane.operation in credential.denied:
            return because(f"it may not do {lane.operation}", None)
        if credential.rests(now):
            return because(f"cooling down: {credential.disabled_reason or 'no reason given'}", credential.disabled_till)
        if credential.is_stale(now):
            return because("its token is over, and is being refreshed", now + 5.0)
        if credential.probing:
            return because("one probe is out to see whether it is back", now + 5.0)
        if exhausted_by_report(credential, now):
            return because("the provider says that nothing is left", credential.reported_reset_at)
        windows = windows_of(self.snapshot, credential.id, credential.source, lane.operation)
        full = [window for window in windows if window.left(lane.priority) <= 0]
        if not full:
            return because("its turn has not come", now + 1.0)
        last = max(full, key=lambda window: window.next_room(lane.priority))
        return because(f"limit {last.limit.name} is used up", last.next_room(lane.priority))


def _flow_reason(flow: FlowRoom, now: float) -> Reason:
    if flow.paused:
        return Reason(
            None, f"the flow {flow.name} is paused, until somebody lets it go on: beat flows resume {flow.name}", None
        )
    why = (
        f"the flow {flow.name} is at its concurrency: {flow.limit} calls may be out at once, and are; "
        f"more: beat flows set {flow.name} --workers ... --concurrency ..."
    )
    return Reason(None, why, now + 0.5)


@dataclass(slots=True)
class SharedCall:
    """A leased call, and how many more fetches of its lane it can answer."""

    lease: Lease
    room: int

    def join(self, fetch_id: int) -> Lease | None:
        """The call's lease for one more fetch; `None` when it is full."""
        if self.room <= 0:
            return None
        self.room -= 1
        return replace(self.lease, fetch_id=fetch_id, call_of=self.lease.fetch_id)


class Pool:
    """The credentials of one source that can serve one operation now, drawn by weight until each has no room."""

    def __init__(self, snapshot: Snapshot, source: str, lane: Lane) -> None:
        self.now = snapshot.now
        self.priority = lane.priority
        self.members = [
            credential
            for credential in snapshot.credentials.values()
            if belongs(credential, source, lane) and usable(credential, lane.operation, snapshot.now)
        ]
        self.windows: dict[int, list[Window]] = {
            credential.id: windows_of(snapshot, credential.id, source, lane.operation) for credential in self.members
        }
        self._weigh()

    def find(self, rng: Random) -> Credential | None:
        """A credential at random by weight among those with room; `None` when there is none. Takes nothing."""
        while self.members:
            member = self.members[bisect(self.cumulated, rng.random() * self.cumulated[-1])]
            if self._has_room(member):
                return member
            # A limit of the whole source empties every member at once: one pass, not one pass each.
            self.members = [other for other in self.members if self._has_room(other)]
            self._weigh()
        return None

    def take(self, credential: Credential) -> None:
        """Take room for one call from all limits, which `find` saw to have it."""
        take(credential, self.windows[credential.id])

    def _has_room(self, credential: Credential) -> bool:
        if credential.probing or exhausted_by_report(credential, self.now):
            return False
        return has_room(self.windows[credential.id], self.priority)

    def _weigh(self) -> None:
        self.cumulated = list(accumulate(member.weight for member in self.members))


def belongs(credential: Credential, source: str, lane: Lane) -> bool:
    return credential.source == source and (not lane.owner or credential.owner == lane.owner)


def usable(credential: Credential, operation: str, now: float) -> bool:
    """Whether the credential may be used at all; its limits are another matter."""
    return (
        credential.enabled
        and not credential.dead
        and not credential.probing
        and operation not in credential.denied
        and not credential.rests(now)
        and not credential.is_stale(now)
    )


def has_room(windows: Iterable[Window], priority: int = CUSTOMER) -> bool:
    return all(window.left(priority) > 0 for window in windows)


def take(credential: Credential, windows: Iterable[Window]) -> None:
    """Take room for one call from all limits, which were seen to have it."""
    for window in windows:
        window.hold()
    if credential.reported_remaining is not None:
        credential.reported_remaining -= 1
        credential.changed = True


def exhausted_by_report(credential: Credential, now: float) -> bool:
    return (
        credential.reported_remaining is not None
        and credential.reported_remaining <= 0
        and credential.reported_reset_at is not None
        and credential.reported_reset_at > now
    )


def apply_settlements(snapshot: Snapshot, settlements: Sequence[Settlement], plan: Plan, rng: Random) -> None:
    """The first half of a turn: what came back changes credentials and breakers, and moves its fetches."""
    for settlement in settlements:
        settle(snapshot, settlement, plan, rng)


def decide(snapshot: Snapshot, candidates: Sequence[Candidate], capacity: int, plan: Plan, desk: Desk) -> None:
    """The second half: lease to the candidates in the order of priority, at most `capacity`; say why the others wait."""
    lanes = {lane.id: lane for lane in snapshot.lanes}

    def rank(candidate: Candidate) -> tuple[float, int]:
        waited = snapshot.now - candidate.created_at
        return lanes[candidate.lane_id].priority - waited // AGEING, candidate.fetch_id

    stuck: set[int] = set()
    shared: dict[int, SharedCall] = {}
    for candidate in sorted(candidates, key=rank):
        if len(plan.leases) >= capacity:
            break
        if candidate.lane_id in stuck:
            continue
        lane = lanes[candidate.lane_id]
        lease = shared[lane.id].join(candidate.fetch_id) if lane.id in shared else None
        if lease is None:
            lease = desk.pick(lane, candidate.fetch_id)
            if lease is None:
                stuck.add(lane.id)
                plan.blocked.append(desk.blocked(lane))
                continue
            size = 1 if lease.probe else snapshot.many.get((lease.source, lane.operation), 1)
            shared[lane.id] = SharedCall(lease, size - 1)
        plan.leases.append(lease)
    plan.touched_breakers.update(desk.probed)
