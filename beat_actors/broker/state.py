"""What the broker knows when it decides, and what it decides: plain values. Times are epoch seconds of the database's clock."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from beat_actors.broker.breaker import ALONE, Breaker, Witnesses
from beat_actors.broker.windows import Window, subject_of
from beat_actors.platforms.interface import Limit, Outcome

BreakerKey = tuple[str, str, str, str]
"""(source, operation, kind, owner); kind is 'upstream' or 'parser', and the owner is empty where it is everybody's."""


@dataclass(frozen=True, slots=True)
class Denial:
    """An operation that the provider does not let a credential do, and what it `said`. At `at` one call is let through to see whether that is
    still so, after `looks` such calls."""

    looks: int = 0
    at: float = 0.0
    said: str = ""


@dataclass(slots=True)
class Credential:
    """A credential as the turn works on it. `changed` marks what has to be written back.

    `generation` rises with each new secret. `unproven`: dead since `dead_since`, and to be seen to work: its secret is
    new, or it is looked at again, for the `looks`-th time at `look_at`.
    `shared`: it also serves calls that need no owner, of every account; otherwise it serves its owner's calls alone.
    `denied`: operations that the provider does not let it do; one of which `denials` says nothing is to be tried again at once.
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
    denials: dict[str, Denial] = field(default_factory=dict)
    ladder: int = 0
    ladder_at: float | None = None
    probing: bool = False
    reported_remaining: int | None = None
    reported_reset_at: float | None = None
    disabled_reason: str | None = None
    dead_reason: str | None = None
    generation: int = 1
    unproven: bool = False
    dead_since: float | None = None
    looks: int = 0
    look_at: float | None = None
    refreshes: bool = False
    good_until: float | None = None
    refreshed_at: float | None = None
    refused: bool = False
    shared: bool = True
    full_until: float | None = None  # its own limits have no room before; not kept where that is seconds away
    changed: bool = False

    @property
    def breaks_for(self) -> str:
        """The owner whose breakers judge the calls for the credential's own sake; empty: everybody's."""
        return "" if self.shared else self.owner or ""

    def denied_until(self, operation: str) -> float | None:
        """When an operation is tried again that it may not do; `None` for one that it may."""
        return self.denials.get(operation, Denial()).at if operation in self.denied else None

    def may(self, operation: str, now: float) -> bool:
        """Whether the operation may be tried: nothing says that the provider does not let it, or it is time to see whether it does now."""
        until = self.denied_until(operation)
        return until is None or until <= now

    def needs_probe(self, now: float) -> bool:
        return self.disabled_till is not None and self.disabled_till <= now

    def cools_down(self, now: float) -> bool:
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
    """A waiting fetch. `tenant`: the account, or the installation's own key, whose turn it takes."""

    fetch_id: int
    lane_id: int
    tenant: str = ""


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
    restarts: int = 0  # how often its listing was restarted
    alone: bool = False  # no other source serves the operation
    is_witness: bool = False  # it asks its one source about a held record


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

    `generation`: of the secret with which it was made, where that is known. `facts`: what a check found out. `began`: when the call was
    begun, which is the time that a breaker goes by. `owner`: whose call it was; empty where it was nobody's. `process`: to which no connection
    came about.
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
    began: float | None = None
    owner: str = ""
    process: str = ""


@dataclass(slots=True)
class FlowRoom:
    """How many calls of a flow may be in flight at once, and how many are."""

    name: str
    limit: int
    paused: bool = False
    out: int = 0
    platform: str = ""

    @property
    def is_full(self) -> bool:
        return self.paused or self.out >= self.limit


@dataclass(frozen=True, slots=True)
class Budgets:
    rotations: int = 10
    retries: int = 3


@dataclass(frozen=True, slots=True)
class Unread:
    """Credentials of a group that were not loaded: how many, and when the first of them can be used (`None`: it needs manual action)."""

    credentials: int
    until: float | None
    usable: bool = False  # as far as is known they can be used now, and `credentials` are the least that there are


@dataclass(slots=True)
class Snapshot:
    """Everything that a turn decides over. The turn works on it in place; nothing else sees it.

    Of the credentials it has those that were loaded for the turn.
    """

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
    served: Mapping[int, str] = field(default_factory=dict)
    """Priority -> the tenant that got the last lease of the class."""
    seed: int = 0
    held: dict[int, list[Any]] = field(default_factory=dict)
    """Credential -> calls in flight, rows with `source`, `operation` and `calls`."""
    unread: dict[tuple[str, str], Unread] = field(default_factory=dict)
    """(source, owner) -> those that serve these calls and were not loaded."""
    witnesses: Witnesses = ALONE
    _serving: dict[tuple[str, str], list[Credential]] | None = field(default=None, repr=False)

    def add(self, credentials: Iterable[Credential]) -> None:
        """Credentials that are loaded later."""
        self.credentials.update((one.id, one) for one in credentials)
        self._serving = None

    def serving(self, source: str, owner: str) -> Sequence[Credential]:
        """The source's credentials that serve this owner's calls; with no owner, those that are shared.

        Found through an index that is made once for the snapshot, so that many owners do not each look at all credentials.
        """
        if self._serving is None:
            self._serving = {}
            for credential in self.credentials.values():
                if credential.owner:
                    self._serving.setdefault((credential.source, credential.owner), []).append(credential)
                if credential.shared:
                    self._serving.setdefault((credential.source, ""), []).append(credential)
        return self._serving.get((source, owner), ())

    def window(self, subject: str, limit: Limit) -> Window:
        key = (subject, limit.name)
        found = self.windows.get(key)
        if found is None:
            found = self.windows[key] = Window(subject, limit, self.now)
        return found

    def windows_of(self, credential_id: int, source: str, operation: str) -> list[Window]:
        """Every window that a call of this operation with this credential counts in."""
        return [
            self.window(subject_of(limit.scope, credential_id, source), limit)
            for limit in self.limits.get(source, ())
            if limit.operations is None or operation in limit.operations
        ]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a source, or where none is named the flow, cannot be used now. `until` is when that may change; `None`: it needs manual action.

    Accounts that wait read `why`: it names no owner, no command, and nothing that a provider said. Only operators are shown `hint`.
    """

    source: str | None
    why: str
    until: float | None
    credential_id: int | None = None
    hint: str = ""
    credentials: int = 1  # of how many it is true

    def to_json(self) -> dict[str, Any]:
        shown = {"source": self.source, "credential_id": self.credential_id, "why": self.why, "until": self.until}
        many = {"credentials": self.credentials} if self.credentials > 1 else {}
        return shown | ({"hint": self.hint} if self.hint else {}) | many


MOST_NAMED = 20
"""Reasons that are kept for each credential by itself; of more, one is kept for all credentials of a source that it is true of."""


def reasons_json(reasons: Sequence[Reason]) -> list[dict[str, Any]]:
    """Reasons as they are kept: `credentials` is how many one is true of, where it stands for several, and `until` the earliest."""
    if len(reasons) <= MOST_NAMED:
        return [reason.to_json() for reason in reasons]
    alike: dict[tuple[str | None, str, str], list[Reason]] = {}
    for reason in reasons:
        alike.setdefault((reason.source, reason.why, reason.hint), []).append(reason)
    return [
        Reason(
            source, why, min((one.until for one in group if one.until is not None), default=None), hint=hint
        ).to_json()
        | {"credentials": sum(one.credentials for one in group)}
        for (source, why, hint), group in alike.items()
    ]


@dataclass(frozen=True, slots=True)
class Lease:
    """Leave to make one call with one credential.

    `call_of`: the call is that of another fetch, which answers this one too. `use_from`: the call may not be made earlier; `None` where it
    may be made at once.
    """

    fetch_id: int
    source: str
    credential_id: int
    probe: bool = False
    call_of: int | None = None
    use_from: float | None = None


@dataclass(frozen=True, slots=True)
class Blocked:
    """A lane in which nothing can be leased before `until` (`None`: it needs manual action)."""

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
    """A check came back, and when the next is due (`None`: no more). Without `facts`, what is known of the secret stands."""

    credential_id: int
    at: float
    outcome: str
    detail: str
    next_at: float | None
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
    probe_checks: set[BreakerKey] = field(default_factory=set)
    """Breakers of checks for whose next probe a credential was chosen."""
    served: dict[int, str] = field(default_factory=dict)
    """Priority -> the tenant that got the last lease of the class in this turn."""
