"""What the broker knows when it decides, and what it decides: plain values. Times are epoch seconds of the database's clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from beat_actors.credentials.breaker import Breaker
from beat_actors.credentials.limits import Window
from beat_actors.platforms.interface import Limit, Outcome

BreakerKey = tuple[str, str, str]
"""(source, operation, kind); kind is 'upstream' or 'parser'."""


@dataclass(slots=True)
class Credential:
    """A credential as the turn works on it. `changed` marks what has to be written back.

    `generation` rises with each new secret. `unproven`: dead, and given a new secret that is still to be seen to work.
    `refreshes`: its secret is good until `good_until` only, and got at `refreshed_at`; `refused`: the provider took it no longer.
    """

    id: int
    source: str
    owner: str | None = None
    weight: int = 1
    enabled: bool = True
    disabled_till: float | None = None
    dead: bool = False
    denied: frozenset[str] = frozenset()
    ladder: int = 0
    ladder_at: float | None = None
    probing: bool = False
    reported_remaining: int | None = None
    reported_reset_at: float | None = None
    disabled_reason: str | None = None
    dead_reason: str | None = None
    generation: int = 1
    unproven: bool = False
    refreshes: bool = False
    good_until: float | None = None
    refreshed_at: float | None = None
    refused: bool = False
    changed: bool = False

    def needs_probe(self, now: float) -> bool:
        return self.disabled_till is not None and self.disabled_till <= now

    def rests(self, now: float) -> bool:
        return self.disabled_till is not None and self.disabled_till > now

    def is_stale(self, now: float) -> bool:
        """Whether its secret has to be refreshed before it can be used."""
        return self.refreshes and (self.good_until is None or self.good_until <= now)


@dataclass(frozen=True, slots=True)
class Lane:
    """Fetches that share a fate: a flow, an operation, a priority class and the sources still open to them, in the chain's order.

    `owner`: only its credentials may be used; empty where any may.
    """

    id: int
    operation: str
    priority: int
    sources: tuple[str, ...]
    owner: str = ""
    flow: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A waiting fetch."""

    fetch_id: int
    lane_id: int
    created_at: float


@dataclass(frozen=True, slots=True)
class Fetch:
    """A fetch whose call came to something else than an answer that can be used."""

    id: int
    chain: tuple[str, ...]
    source: str
    cursor_source: str | None = None
    excluded: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    rotations: int = 0
    retries: int = 0
    alone: bool = False  # no other source serves the operation


@dataclass(frozen=True, slots=True)
class Facts:
    """What a provider says of a secret; `None` where it does not say."""

    scopes: Sequence[str] | None = None
    expires_at: float | None = None
    data_access_expires_at: float | None = None

    @property
    def ends(self) -> list[float]:
        return [end for end in (self.expires_at, self.data_access_expires_at) if end is not None]


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of one call (or of `calls` alike ones). `at`: the latest moment at which the provider can have
    begun to count it.

    `generation`: of the secret with which it was made, where that is known. `facts`: what a check found out.
    """

    credential_id: int
    source: str
    operation: str
    outcome: Outcome
    calls: int = 1
    probe: bool = False
    code: str = ""
    detail: str = ""
    retry_after: float | None = None
    reported_remaining: int | None = None
    reported_reset: float | None = None
    at: float | None = None
    fetch: Fetch | None = None
    generation: int | None = None
    facts: Facts | None = None


@dataclass(slots=True)
class FlowRoom:
    """How many calls of a flow may be out at once, and how many are."""

    name: str
    limit: int
    paused: bool = False
    out: int = 0

    @property
    def is_full(self) -> bool:
        return self.paused or self.out >= self.limit


@dataclass(frozen=True, slots=True)
class Budgets:
    rotations: int = 10
    retries: int = 3


@dataclass(slots=True)
class Snapshot:
    """Everything that a turn decides over. The turn works on it in place; nothing else sees it."""

    now: float
    credentials: dict[int, Credential]
    breakers: dict[BreakerKey, Breaker]
    lanes: Sequence[Lane]
    windows: dict[tuple[str, str], Window]
    limits: Mapping[str, tuple[Limit, ...]]
    budgets: Budgets = field(default_factory=Budgets)
    check_every: float = 21_600.0
    room: dict[tuple[str, str], int] = field(default_factory=dict)
    """(source, operation) -> calls that may still be put in flight; not bounded where it has no entry."""
    flows: Mapping[str, FlowRoom] = field(default_factory=dict)
    """What has no entry is not bounded."""
    many: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(source, operation) -> fetches that one call answers, where that is more than one."""
    checks: frozenset[str] = frozenset()
    """The sources whose credentials can be checked."""

    def window(self, subject: str, limit: Limit) -> Window:
        key = (subject, limit.name)
        found = self.windows.get(key)
        if found is None:
            found = self.windows[key] = Window(subject, limit, self.now)
        return found


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a source, or where none is named the flow, cannot be used now. `until` is when that may change; `None` means: not without a person."""

    source: str | None
    why: str
    until: float | None
    credential_id: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {"source": self.source, "credential_id": self.credential_id, "why": self.why, "until": self.until}


@dataclass(frozen=True, slots=True)
class Lease:
    """Leave to make one call with one credential.

    `call_of`: the call is that of another fetch, which answers this one too.
    """

    fetch_id: int
    source: str
    credential_id: int
    probe: bool = False
    call_of: int | None = None


@dataclass(frozen=True, slots=True)
class Blocked:
    """A lane in which nothing can be leased before `until` (`None`: not without a person)."""

    lane_id: int
    until: float | None
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """The fetch waits again: in the lane of `chain` less the exclusions, not before `delay` seconds from now."""

    fetch_id: int
    excluded: tuple[str, ...]
    unreadable: tuple[str, ...]
    rotations: int
    retries: int
    delay: float = 0.0
    why: str = ""
    drop_cursor: bool = False


@dataclass(frozen=True, slots=True)
class Fail:
    """The fetch ends here, with a code and a sentence."""

    fetch_id: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Happened:
    """One line of a credential's flight recorder."""

    credential_id: int
    kind: str
    until: float | None
    cause: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Checked:
    """A check came back, and when the next is due. Without `facts`, what is known of the secret stands."""

    credential_id: int
    at: float
    outcome: str
    detail: str
    next_at: float
    facts: Facts | None = None


@dataclass(slots=True)
class Plan:
    """What the turn has to write and send."""

    leases: list[Lease] = field(default_factory=list)
    blocked: list[Blocked] = field(default_factory=list)
    moves: list[Wait | Fail] = field(default_factory=list)
    events: list[Happened] = field(default_factory=list)
    checked: list[Checked] = field(default_factory=list)
    touched_breakers: set[BreakerKey] = field(default_factory=set)
