"""The CredentialBroker's decision: (waiting fetches, credentials, usage, breakers, now) -> (leases, waits).

Pure: no I/O, no clock, no randomness but the generator that is passed in, so that the same inputs give the same plan.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random

from beat_actors.broker.fair import Classes
from beat_actors.broker.outages import DATA, EVERYBODY, KINDS, judge
from beat_actors.broker.outcomes import settle
from beat_actors.broker.pool import Pool, exhausted_by_report, has_room, take
from beat_actors.broker.state import (
    Blocked,
    BreakerKey,
    Candidate,
    Credential,
    Denial,
    FlowRoom,
    Lane,
    Lease,
    Plan,
    Reason,
    Settlement,
    Snapshot,
)
from beat_actors.broker.windows import CUSTOMER
from beat_actors.credentials.health import LOOK_LASTS
from beat_actors.platforms.interface import Outcome
from beat_actors.trust.breaker import ONE_IN

GRANT_IT = "grant it at the provider, then: `beat credentials enable ID --reason …`"
COOLS_DOWN_FOR: dict[str, str] = {
    Outcome.RATE_LIMITED: "the provider rate-limited it",
    Outcome.QUOTA_EXHAUSTED: "the provider's quota is exhausted",
}


class Allocator:
    """Chooses credentials, and remembers what it gave out during the turn."""

    def __init__(self, snapshot: Snapshot, rng: Random) -> None:
        self.snapshot = snapshot
        self.rng = rng
        self._pools: dict[tuple[str, str, bool, str], Pool] = {}
        self._probed: set[BreakerKey] = set()
        self._why: dict[tuple[str, str, int, str], list[Reason]] = {}

    def pick(self, lane: Lane, fetch_id: int) -> Lease | None:
        """The first source of the lane that has room, and in it a credential at random by weight. Takes room for the call."""
        chosen = self._choose(lane)
        return None if chosen is None else self._lease(*chosen, lane, fetch_id)

    def has_room(self, lane: Lane) -> bool:
        return self._choose(lane) is not None

    def _choose(self, lane: Lane) -> tuple[str, Credential] | None:
        """The first source that can be called now, else the first that can be in a moment. One that is only crowded is waited for, not
        passed over: it will have room when the first of its calls comes back, and the chain's order is the order of preference."""
        flow = self.snapshot.flows.get(lane.flow)
        if flow is not None and flow.is_full:
            return None
        sources = [
            one
            for one in lane.sources
            if not self._is_distrusted(one, lane) and self._probe_state(one, lane.operation, lane.owner) is not None
        ]
        for find in (Pool.find, Pool.find_soon):
            for source in sources:
                credential = find(self._pool(source, lane), self.rng)
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
            or credential.cools_down(now)
            or exhausted_by_report(credential, now)
        ):
            return None
        windows = self.snapshot.windows_of(credential.id, source, operation)
        owner = credential.breaks_for
        if self._probe_state(source, operation, owner) is None or self._crowded(source, operation):
            return None
        if not has_room(windows):
            return None
        take(credential, windows)
        return self._begin(credential, operation, owner)

    def _lease(self, source: str, credential: Credential, lane: Lane, fetch_id: int) -> Lease:
        use_from = self._pool(source, lane).take(credential)
        if lane.flow in self.snapshot.flows:
            self.snapshot.flows[lane.flow].out += 1
        probe = self._begin(credential, lane.operation, lane.owner)
        return Lease(fetch_id, source, credential.id, probe, use_from=use_from)

    def _begin(self, credential: Credential, operation: str, owner: str) -> bool:
        """Note that the call goes out. Whether it is a probe."""
        source = credential.source
        if (source, operation) in self.snapshot.room:
            self.snapshot.room[source, operation] -= 1
        probe = bool(self._probe_state(source, operation, owner))
        if probe:
            self._start_probe(source, operation, owner)
        if credential.needs_probe(self.snapshot.now):
            credential.probing = credential.changed = probe = True
        if operation in credential.denied:
            # One call looks whether it may do it now; the others wait for what that comes to.
            look = replace(credential.denials.get(operation, Denial()), at=self.snapshot.now + LOOK_LASTS)
            credential.denials = {**credential.denials, operation: look}
            credential.changed = probe = True
        return probe

    def _crowded(self, source: str, operation: str) -> bool:
        """Whether as many calls are out as may be before the first of them has come back."""
        return self.snapshot.room.get((source, operation), 1) <= 0

    def _probe_state(self, source: str, operation: str, owner: str) -> bool | None:
        """`None`: the source may not be called. `True`: one probe may go. `False`: it is open to all."""
        now, probe = self.snapshot.now, False
        for kind in KINDS:
            everybody = self.snapshot.breakers.get((source, operation, kind, EVERYBODY))
            if owner and everybody is not None and everybody.is_open(now):
                return None
            breaker = self.snapshot.breakers.get((source, operation, kind, owner))
            if breaker is None or breaker.open_until is None:
                continue
            if breaker.is_open(now) or breaker.probing:
                return None
            probe = True
        return probe

    def _is_distrusted(self, source: str, lane: Lane) -> bool:
        """Whether the source is out of the chain because what it says is wrong. One call in `ONE_IN` goes there all the same. Where there is no other
        source, every other look at the lane leads to a call: its work waits for half a minute between two of them. What a person opened gets no
        calls: the rules have found nothing wrong with its answers, and would write them."""
        breaker = self.snapshot.breakers.get((source, lane.operation, DATA, EVERYBODY))
        if breaker is None:
            return False
        if breaker.by_hand:
            return True
        is_alone = all((one, lane.operation, DATA, EVERYBODY) in self.snapshot.breakers for one in lane.sources)
        return self.rng.random() * (2 if is_alone else ONE_IN) >= 1

    def _start_probe(self, source: str, operation: str, owner: str) -> None:
        for kind in KINDS:
            key = (source, operation, kind, owner)
            breaker = self.snapshot.breakers.get(key)
            if breaker is not None and breaker.needs_probe(self.snapshot.now):
                self.snapshot.breakers[key] = replace(breaker, probing=True)
                self._probed.add(key)

    @property
    def probed(self) -> Iterable[BreakerKey]:
        """The breakers that were given a probe."""
        return self._probed

    def _pool(self, source: str, lane: Lane) -> "Pool":
        key = (source, lane.operation, lane.priority == CUSTOMER, lane.owner)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(self.snapshot, source, lane)
        return pool

    def _reasons(self, source: str, lane: Lane) -> list[Reason]:
        now = self.snapshot.now
        data = self.snapshot.breakers.get((source, lane.operation, DATA, EVERYBODY))
        if data is not None:
            opened = "an operator opened its data breaker" if data.by_hand else "its data breaker is open"
            return [Reason(source, f"its answers are wrong: {opened}", data.open_until)]
        for kind in KINDS:
            breaker = self.snapshot.breakers.get((source, lane.operation, kind, EVERYBODY))
            if breaker is not None and breaker.is_open(now):
                why = "unreadable answers: its parser breaker is open"
                if kind == "upstream":
                    why = (
                        "paused by an operator: no calls are sent" if breaker.by_hand else "outage: its breaker is open"
                    )
                return [Reason(source, why, breaker.open_until)]
            own = self.snapshot.breakers.get((source, lane.operation, kind, lane.owner))
            if lane.owner and own is not None and own.is_open(now):
                why = f"unreadable answers for {lane.owner}: the parser breaker of {lane.owner} is open"
                if kind == "upstream":
                    why = f"calls for {lane.owner} fail: the breaker of {lane.owner} is open"
                return [Reason(source, why, own.open_until)]
            if own is not None and own.probing:
                return [Reason(source, "one probe call is in flight", now + 5.0)]
        if self._crowded(source, lane.operation):
            return [Reason(source, "its limit of calls in flight is reached", now + 0.5)]
        key = (source, lane.operation, lane.priority, lane.owner)
        if key not in self._why:  # lanes that differ in their flow alone wait for the same
            serving = self.snapshot.serving(source, lane.owner)
            none = [Reason(source, "it has no credential that everybody may use", None)]
            if lane.owner:
                none = [Reason(source, "it has no credential of this owner", None, hint=f"the owner is {lane.owner}")]
            reasons = [self._credential_reason(credential, lane) for credential in serving]
            unread = self.snapshot.unread.get((source, lane.owner))
            if unread is not None:
                why = "its other credentials are available later"
                if unread.usable:
                    why = "its other credentials are considered next"
                reasons.append(Reason(source, why, unread.until, credentials=unread.credentials))
            self._why[key] = reasons or none
        return self._why[key]

    def _credential_reason(self, credential: Credential, lane: Lane) -> Reason:
        now = self.snapshot.now

        def because(why: str, until: float | None) -> Reason:
            return Reason(credential.source, why, until, credential.id)

        if credential.dead:
            return because("dead: its secret was refused, and a person has to replace it", None)
        if not credential.enabled:
            return because("disabled by hand", None)
        if not credential.may(lane.operation, now):
            until = credential.denied_until(lane.operation)
            why = f"the provider denies {lane.operation} to it; it is tried again later"
            return Reason(credential.source, why, until, credential.id, hint=GRANT_IT)
        if credential.cools_down(now):
            return because(f"cooling down: {_cause_of_cooldown(credential)}", credential.disabled_till)
        if credential.is_stale(now):
            return because("its token has expired, and is being refreshed", now + 5.0)
        if credential.probing:
            return because("one probe call is in flight", now + 5.0)
        if exhausted_by_report(credential, now):
            return because("the provider says that nothing is left", credential.reported_reset_at)
        windows = self.snapshot.windows_of(credential.id, credential.source, lane.operation)
        full = [window for window in windows if window.left(lane.priority) <= 0]
        if not full:
            return because("its turn has not come", now + 1.0)
        last = max(full, key=lambda window: window.opens(lane.priority))
        return because(f"limit {last.limit.name} is used up", last.opens(lane.priority))


def _cause_of_cooldown(credential: Credential) -> str:
    """Reasons are read by the accounts that wait, so they hold no words or codes of the provider."""
    outcome = (credential.disabled_reason or "").partition(" ")[0]
    return COOLS_DOWN_FOR.get(outcome, "the provider refused a call with it")


def _flow_reason(flow: FlowRoom, now: float) -> Reason:
    if flow.paused:
        return Reason(
            None,
            f"the flow {flow.name} is paused",
            None,
            hint=f"`beat flows resume {flow.name} --platform {flow.platform} --reason …`",
        )
    hint = (
        f"its limit is {flow.limit} calls; raise it: "
        f"`beat flows set {flow.name} --platform {flow.platform} --workers N --concurrency N --reason …`"
    )
    why = f"the flow {flow.name} has reached its limit of calls in flight"
    return Reason(None, why, now + 0.5, hint=hint)


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


def apply_settlements(snapshot: Snapshot, settlements: Sequence[Settlement], plan: Plan, rng: Random) -> None:
    """The first half of a turn: what came back changes credentials and breakers, and moves its fetches."""
    judge(snapshot, settlements, plan)
    for settlement in settlements:
        settle(snapshot, settlement, plan, rng)


def decide(
    snapshot: Snapshot, candidates: Sequence[Candidate], capacity: int, plan: Plan, allocator: Allocator
) -> None:
    """The second half: lease at most `capacity` fetches, in the order of `fair`; say why the others wait.

    `plan.served` says for each class which tenant got its last lease. The next turn starts after that tenant.
    """
    lanes = {lane.id: lane for lane in snapshot.lanes}
    stuck: set[int] = set()
    shared: dict[int, SharedCall] = {}
    classes = Classes(candidates, lanes, snapshot.served, allocator.rng)
    while len(plan.leases) < capacity:
        candidate = classes.head(len(plan.leases), stuck)
        if candidate is None:
            break
        lane = lanes[candidate.lane_id]
        lease = shared[lane.id].join(candidate.fetch_id) if lane.id in shared else None
        if lease is None:
            lease = allocator.pick(lane, candidate.fetch_id)
            if lease is None:
                stuck.add(lane.id)
                plan.blocked.append(allocator.blocked(lane))
                continue
            size = 1 if lease.probe else snapshot.many.get((lease.source, lane.operation), 1)
            shared[lane.id] = SharedCall(lease, size - 1)
        classes.took(candidate)
        plan.leases.append(lease)
        plan.served[lane.priority] = candidate.tenant
    plan.touched_breakers.update(allocator.probed)
