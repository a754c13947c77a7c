"""The evidence of a run, and the set arithmetic over it: what the API accepted, what the database holds, what the providers counted.

The module does no I/O. Each count of `Findings` that a promise forbids is 0 where the promise held.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from beat_actors.chaos.published import Published, lost_events, repeated_events
from beat_actors.chaos.truths import (
    Falsehoods,
    Hold,
    Rejected,
    Served,
    Truth,
    falsehoods,
    undecided,
    unwritten,
    written_again,
)
from beat_actors.database import Composed
from beat_actors.failpoints.armed import Fired
from beat_actors.platforms.interface import UPKEEP

ENDED = frozenset({"COMPLETE", "FAILED", "CANCELLED"})
CUT_OFF = frozenset({"connection", "closed"})
OVER = frozenset({"DONE", "FAILED", "CANCELLED"})


class Request(NamedTuple):
    """`ended_at` in epoch seconds."""

    id: int
    key: str | None
    status: str
    code: str | None
    items: int
    open_fetches: int
    ended_at: float | None


class Fetch(NamedTuple):
    """`params` as text. `witness_of`: the held record about which it asks; `witness`: the source that it asks."""

    id: int
    request_id: int
    operation: str
    params: str
    cursor: str | None
    page: int
    stage: str
    witness_of: int | None = None
    witness: str | None = None


class Effect(NamedTuple):
    """A row of a log of observations."""

    request_id: int
    fetch_id: int
    subject: str


class Event(NamedTuple):
    """An event that was published or is to be."""

    subject: str
    type: str


class Payload(NamedTuple):
    """An answer that is kept."""

    fetch_id: int
    attempt: int


class Trace(NamedTuple):
    """A call that was made. `ms`: how long it took."""

    fetch_id: int | None
    attempt: int | None
    operation: str
    outcome: str
    code: str
    ms: float


class Turn(NamedTuple):
    """A dispatch cycle: when (epoch seconds), and how many leases it gave."""

    at: float
    leased: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that is known after a run."""

    keys: frozenset[str]
    ids: Mapping[str, set[int]]
    requests: Sequence[Request]
    fetches: Sequence[Fetch]
    effects: Sequence[Effect]
    events: Sequence[Event]
    payloads: Sequence[Payload]
    traces: Sequence[Trace]
    turns: Sequence[Turn]
    charged: int
    calls: int
    good_calls: int
    over_limit: int
    published: Published
    counted: int | None = None
    """Calls by the exact counter of the metrics."""
    severed: bool = False
    """Whether the fault broke connections between Beat and the providers."""
    holds: Sequence[Hold] = ()
    rejected: Sequence[Rejected] = ()
    served: Sequence[Served] | None = None
    """All values that the API serves, where the run compares them with the truth."""
    truths: Mapping[str, Sequence[Truth]] = field(default_factory=dict)


REQUESTS = Composed(
    "chaos/check.requests",
    "SELECT id, idempotency_key AS key, status, data->'error'->>'code' AS code, items, open_fetches, "
    "extract(epoch FROM scraped_at)::float8 AS ended_at FROM scrape_request_log",
    Request,
)
FETCHES = Composed(
    "chaos/check.fetches",
    "SELECT id, request_id, operation, params::text AS params, cursor, page, stage, witness_of, "
    "CASE WHEN witness_of IS NOT NULL THEN source END AS witness FROM scrape_fetch",
    Fetch,
)
EFFECTS = Composed(
    "chaos/check.effects",
    "SELECT request_id, fetch_id, 'profile ' || profile_id AS subject FROM profile_log UNION ALL "
    "SELECT request_id, fetch_id, 'post ' || post_id FROM post_log",
    Effect,
)
EVENTS = Composed(
    "chaos/check.events",
    "SELECT subject, type FROM event WHERE type LIKE 'beat.scrape_request.%' AND type <> ALL('{beat.scrape_request.accepted,beat.scrape_request.processing,beat.scrape_request.waiting}')",
    Event,
)
PAYLOADS = Composed("chaos/check.payloads", "SELECT fetch_id, attempt FROM raw_payload", Payload)
TRACES = Composed("chaos/check.traces", "SELECT fetch_id, attempt, operation, outcome, code, ms FROM trace_log", Trace)
TURNS = Composed("chaos/check.turns", "SELECT extract(epoch FROM at)::float8 AS at, leased FROM broker_decision", Turn)
COUNTED = Composed(
    "chaos/check.counted",
    "SELECT coalesce(sum(calls), 0)::bigint AS n FROM call_total WHERE outcome <> 'unreached'",
    int,
)
CHARGED = Composed(
    "chaos/check.charged",
    "SELECT coalesce(sum(calls), 0)::bigint AS n FROM credential_usage WHERE limit_name = 'total'",
    int,
)


@dataclass(frozen=True, slots=True)
class Findings:
    """What the arithmetic found. `reasons` names the rows behind each count.

    `unknown`: calls that were in flight when their worker ended. `late`: calls that Beat gave up at their timeout, answered or not. `severed`:
    calls whose connection the fault broke between Beat and the provider, so that the two may count them differently. `extra_calls`: answers
    that the providers gave beyond one for each fetch. `served_corrupt`: values that the API serves, that were not true when they were observed, and that a rule
    can know to be false; `None` where the run does not compare them. `beyond_rules`: those that no rule can know.
    """

    accepted: int
    done: int
    failed: int
    cancelled: int
    lost: int
    dup: int
    nonterminal: int
    over_issued: int
    unaccounted: int
    unknown: int
    extra_calls: int
    reasons: Sequence[str] = field(default=())
    late: int = 0
    severed: int = 0
    served_corrupt: int | None = None
    beyond_rules: int | None = None


def check(evidence: Evidence) -> Findings:
    statuses = Counter(row.status for row in evidence.requests)
    lost = [*_lost(evidence), *lost_events(evidence.published)]
    dup = [*_duplicates(evidence), *repeated_events(evidence.published)]
    nonterminal = [*_unfinished(evidence), *undecided(evidence.holds)]
    false = None if evidence.served is None else falsehoods(evidence.served, evidence.truths)
    unknown = sum(1 for trace in evidence.traces if trace.outcome == "unknown")
    severed = sum(1 for trace in evidence.traces if trace.code in CUT_OFF) if evidence.severed else 0
    late = sum(1 for trace in evidence.traces if trace.code == "timeout")
    unaccounted = _unaccounted(evidence, unknown + severed + (late if evidence.severed else 0))
    good = [trace for trace in evidence.traces if trace.outcome == "ok"]
    wanted = len({trace.fetch_id for trace in _of_fetches(good)}) + sum(trace.operation in UPKEEP for trace in good)
    return Findings(
        accepted=len(evidence.ids),
        done=statuses["COMPLETE"],
        failed=statuses["FAILED"],
        cancelled=statuses["CANCELLED"],
        lost=len(lost),
        dup=len(dup),
        nonterminal=len(nonterminal),
        over_issued=evidence.over_limit,
        unaccounted=len(unaccounted),
        unknown=unknown,
        severed=severed,
        late=late,
        extra_calls=max(0, evidence.good_calls - wanted),
        served_corrupt=None if false is None else len(false.served) + (not false.compared),
        beyond_rules=None if false is None else len(false.beyond_rules),
        reasons=[*lost, *dup, *nonterminal, *unaccounted, *_said_of(false)],
    )


def _said_of(false: Falsehoods | None) -> list[str]:
    if false is None:
        return []
    return false.served if false.compared else ["no value is served, so none was compared"]


def recovery(evidence: Evidence, fired: Sequence[Fired]) -> float | None:
    """The longest time from the end or pause of a process to the first success of what it held; `None` where it held nothing.

    Where the fault hit another process in between, the time runs from then.
    """
    ended: defaultdict[int, float] = defaultdict(float)
    for request in evidence.requests:
        ended[request.id] = request.ended_at or float("inf")
    request_of = {fetch.id: fetch.request_id for fetch in evidence.fetches}
    waits = []
    for hit in fired:
        held = {request_of[int(word)] for word in _numbers(hit.subject) if int(word) in request_of}
        if held:
            later = [ended[request] for request in held if ended[request] > hit.at]
        else:
            later = [turn.at for turn in evidence.turns if turn.at > hit.at and turn.leased]
        if later:
            success = min(later)
            waits.append(success - max(other.at for other in fired if other.at < success))
    return max(waits, default=None)


def first_success(evidence: Evidence, healed_at: float) -> float | None:
    """Seconds from the end of a fault to the next end of a request; `None` where no request was left."""
    later = [row.ended_at for row in evidence.requests if row.ended_at is not None and row.ended_at > healed_at]
    return min(later) - healed_at if later else None


def _lost(evidence: Evidence) -> list[str]:
    """Requests that were accepted and are gone, that ended without an event, or that are complete with fewer items than they count."""
    there = {row.id for row in evidence.requests}
    found = [f"{key} was accepted as {id}, and is gone" for key, ids in evidence.ids.items() for id in ids - there]
    found += [f"{key} was never accepted" for key in evidence.keys - evidence.ids.keys()]
    events = {event.subject for event in evidence.events}
    rows = _records(evidence)
    fewer = unwritten(evidence.holds, evidence.rejected)
    asking = _only_asking(evidence)
    for row in evidence.requests:
        if row.status in ENDED and f"scrape_request/{row.id}" not in events:
            found.append(f"request {row.id} ended {row.status} and left no event")
        if row.status == "COMPLETE" and rows[row.id] + fewer[row.id] < max(row.items, row.id not in asking):
            found.append(f"request {row.id} counts {row.items} items, and {rows[row.id]} are there")
    return found


def _duplicates(evidence: Evidence) -> list[str]:
    """All that was done twice: requests for a key, effects of a fetch, follow-ups, payloads, traces, events, items."""
    found = [f"{key} became requests {sorted(ids)}" for key, ids in evidence.ids.items() if len(ids) > 1]
    found += _twice("key", (row.key for row in evidence.requests if row.key is not None))
    again = Counter((hold.fetch_id, hold.subject) for hold in written_again(evidence.holds))
    effects = Counter((row.fetch_id, row.subject) for row in evidence.effects)
    found += _twice("effect", (effects - again).elements())
    found += _twice("follow-up", (fetch._replace(id=0, stage="") for fetch in evidence.fetches))
    found += _twice("payload", ((row.fetch_id, row.attempt) for row in evidence.payloads))
    found += _twice("trace", ((row.fetch_id, row.attempt) for row in _of_fetches(evidence.traces)))
    found += _twice("end", (event.subject for event in evidence.events if event.subject.startswith("scrape_request/")))
    rows = _records(evidence)
    for row in evidence.requests:
        if row.status == "COMPLETE" and rows[row.id] > row.items:
            found.append(f"request {row.id} counts {row.items} items, and {rows[row.id]} are there")
    return found


def _records(evidence: Evidence) -> Counter[int]:
    """By request, the records that were written of its own answers, each once. The answers of witnesses are none of its items."""
    witnesses = {fetch.id for fetch in evidence.fetches if fetch.witness_of is not None}
    rows = Counter(effect.request_id for effect in evidence.effects if effect.fetch_id not in witnesses)
    rows.subtract(hold.request_id for hold in written_again(evidence.holds) if hold.fetch_id not in witnesses)
    return rows


def _only_asking(evidence: Evidence) -> set[int]:
    """The requests that only ask about held records."""
    asking = {fetch.request_id for fetch in evidence.fetches if fetch.witness_of is not None}
    return asking - {fetch.request_id for fetch in evidence.fetches if fetch.witness_of is None}


def _unfinished(evidence: Evidence) -> list[str]:
    open_fetches = Counter(fetch.request_id for fetch in evidence.fetches if fetch.stage not in OVER)
    found = []
    for row in evidence.requests:
        if row.status not in ENDED:
            found.append(f"request {row.id} is {row.status}")
        elif row.status == "COMPLETE" and (open_fetches[row.id] or row.open_fetches):
            found.append(f"request {row.id} is COMPLETE, and {open_fetches[row.id]} of its fetches are not")
    return found


def _unaccounted(evidence: Evidence, unknown: int) -> list[str]:
    """Compare the calls that Beat traced and charged with those that the simulator counted. `unknown`: calls that may not have arrived."""
    traced = len(evidence.traces)
    found = []
    if evidence.charged != traced:
        found.append(f"{evidence.charged} calls were charged, {traced} traced")
    if evidence.counted is not None and evidence.counted != evidence.charged:
        found.append(f"the metrics count {evidence.counted} calls, {evidence.charged} were charged")
    if evidence.calls > traced:
        found.append(f"the simulator counted {evidence.calls} calls, {traced} were traced")
    if evidence.calls < traced - unknown:
        found.append(
            f"the simulator counted {evidence.calls} calls, {traced} were traced and only {unknown} may not have arrived"
        )
    return found


def _of_fetches(traces: Sequence[Trace]) -> list[Trace]:
    """The traces without those of checks and refreshes of credentials."""
    return [trace for trace in traces if trace.operation not in UPKEEP]


def _twice(what: str, things: Iterable[object]) -> list[str]:
    return [f"{what} {thing} is there {n} times" for thing, n in Counter(things).items() if n > 1]


def _numbers(text: str) -> list[str]:
    return "".join(letter if letter.isdigit() else " " for letter in text).split()
