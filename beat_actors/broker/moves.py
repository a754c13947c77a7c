"""Where a fetch goes after a call that brought nothing: another credential, the next source, a pause, or its end. Pure."""

import re
from random import Random

from beat_actors.broker.outages import is_one_process_alone, open_until
from beat_actors.broker.state import Fail, Fetch, Settlement, Snapshot, Wait
from beat_actors.platforms.interface import FINAL, Outcome

ASIDE = frozenset({Outcome.MALFORMED, Outcome.UNSEEN, Outcome.REFUSED})
"""After one of these a source is not asked again for the same fetch."""
ROTATES = frozenset(
    {
        Outcome.RATE_LIMITED,
        Outcome.QUOTA_EXHAUSTED,
        Outcome.CREDENTIAL_DEAD,
        Outcome.PERMISSION_MISSING,
        Outcome.UNKNOWN,
        Outcome.AMBIGUOUS,
        Outcome.TOO_MUCH,
    }
)
MEANING = {
    Outcome.MISSING: "it does not exist",
    Outcome.PRIVATE: "it is not public",
    Outcome.BAD_REQUEST: "it cannot be asked for like this",
}
STATUS = re.compile("[1-5][0-9]{2}")
KEY_PATH = re.compile(r"\$(\.[A-Za-z_]{1,40}|\[([0-9]{1,4}|\.\.\.)\]){0,20}")
RESTARTS = 3
"""How often a listing is begun anew whose cursor is lost or has expired."""
BACKOFF = 5.0
BACKOFF_AT_MOST = 300.0
# Seconds after a cooldown's end within which another fetch than the one that carried the last probe can carry the next.
NEXT_PROBE = 10.0
# Until then a credential that could not be asked will have been.
AMBIGUOUS_WAIT = 60.0


def next_move(snapshot: Snapshot, settlement: Settlement, fetch: Fetch, rng: Random) -> Wait | Fail:
    """Where a fetch goes after its call: another credential, the next source, a pause, or its end."""
    outcome = settlement.outcome
    if outcome is Outcome.UNSEEN and not _others(snapshot, settlement, fetch) and _all_unseen(fetch):
        outcome = Outcome.MISSING
    if outcome in FINAL:
        return Fail(
            fetch.id,
            outcome.value,
            f"{fetch.source} says that {MEANING[outcome]}{_told(settlement.code)}",
        )
    if outcome is Outcome.UNUSED:
        return _wait(fetch, fetch.excluded, fetch.unreadable, fetch.rotations, fetch.retries, why=outcome.value)
    if is_one_process_alone(snapshot, settlement):
        delay = BACKOFF * (1 + rng.random())
        return _wait(
            fetch, fetch.excluded, fetch.unreadable, fetch.rotations, fetch.retries, delay=delay, why=outcome.value
        )
    if fetch.is_witness and outcome not in ROTATES:
        return Fail(fetch.id, "no_witness", f"{fetch.source} does not answer; another source is asked")
    if settlement.probe and outcome not in ASIDE | {Outcome.TOO_MUCH}:
        return _carried(snapshot, settlement, fetch)
    rotations = fetch.rotations + 1
    if rotations > snapshot.budgets.rotations:
        return Fail(
            fetch.id,
            "exhausted",
            f"given up after {fetch.rotations} changes of credential or source; {_last(settlement)}",
        )
    if outcome in ROTATES:
        delay = AMBIGUOUS_WAIT * (1 + rng.random() * 0.2) if outcome is Outcome.AMBIGUOUS else 0.0
        return _wait(fetch, fetch.excluded, fetch.unreadable, rotations, fetch.retries, delay=delay, why=outcome.value)
    excluded, unreadable = fetch.excluded, fetch.unreadable
    if outcome in ASIDE:
        unreadable = (*unreadable, fetch.source)
    if outcome is not Outcome.UNSEEN:  # what stands in both said nothing of the thing
        excluded = (*excluded, fetch.source)
    readable = [source for source in fetch.chain if source not in unreadable]
    if any(source not in excluded for source in readable):
        return _wait(fetch, excluded, unreadable, rotations, fetch.retries, why=outcome.value)
    return _chain_spent(snapshot, settlement, fetch, unreadable, rotations, rng)


def _carried(snapshot: Snapshot, settlement: Settlement, fetch: Fetch) -> Wait | Fail:
    """After a probe that failed. That a credential still cools down costs the fetch nothing. Where the call itself failed, the fetch may be
    what fails: it is charged, and lets another one carry the next probe."""
    why = settlement.outcome.value
    until = open_until(snapshot, settlement)
    if until is None or settlement.outcome not in (Outcome.UPSTREAM_DOWN, Outcome.UNREACHED):
        return _wait(fetch, fetch.excluded, fetch.unreadable, fetch.rotations, fetch.retries, why=why)
    rotations = fetch.rotations + 1
    if rotations > snapshot.budgets.rotations:
        return Fail(fetch.id, "exhausted", f"given up after {fetch.rotations} probes and changes; {_last(settlement)}")
    left = set(fetch.chain) - {fetch.source, *fetch.excluded, *fetch.unreadable}
    delay = 0.0 if any(_serves(snapshot, source, settlement) for source in left) else until - snapshot.now + NEXT_PROBE
    return _wait(fetch, fetch.excluded, fetch.unreadable, rotations, fetch.retries, delay=delay, why=why)


def _serves(snapshot: Snapshot, source: str, settlement: Settlement) -> bool:
    """Whether another source can take a fetch over: it has a credential, and its breaker is closed."""
    breaker = snapshot.breakers.get((source, settlement.operation, "upstream", settlement.owner))
    if breaker is not None and breaker.open_until is not None:
        return False
    return any(each.enabled and not each.dead for each in snapshot.serving(source, settlement.owner))


def _chain_spent(
    snapshot: Snapshot, settlement: Settlement, fetch: Fetch, unreadable: tuple[str, ...], rotations: int, rng: Random
) -> Wait | Fail:
    """Every source has been asked. A listing may start anew elsewhere; otherwise pause, and go round again."""
    if len(unreadable) >= len(fetch.chain) and settlement.outcome is Outcome.REFUSED and fetch.cursor_source is None:
        if fetch.retries == 0:  # a reason that no rule knows may pass: each source is asked once more
            delay = BACKOFF * (1 + rng.random() * 0.2)
            return _wait(fetch, (), (), rotations, 1, delay=delay, why=Outcome.REFUSED.value)
        said = f"every source refused this call for an unknown reason; {_last(settlement)}"
        return Fail(fetch.id, Outcome.REFUSED.value, said)
    if len(unreadable) >= len(fetch.chain) and fetch.cursor_source is None:
        said = "says whether it exists" if settlement.outcome is Outcome.UNSEEN else "can be read"
        return Fail(fetch.id, Outcome.MALFORMED.value, f"no source gave an answer that {said}; {_last(settlement)}")
    retries = fetch.retries + 1
    lost = retries > snapshot.budgets.retries or fetch.source in unreadable
    if fetch.cursor_source is not None and (lost or (_is_open(snapshot, settlement) and not fetch.alone)):
        # The cursor is worth nothing elsewhere, or nothing any more: list from the first page. Upserts make that harmless.
        if fetch.restarts >= RESTARTS:
            said = f"the listing was restarted {RESTARTS} times and failed each time; {_last(settlement)}"
            return Fail(fetch.id, "exhausted", said)
        return Wait(fetch.id, (fetch.source,), (), rotations, 0, why="cursor lost", drop_cursor=True)
    if retries > snapshot.budgets.retries:
        return Fail(
            fetch.id, "exhausted", f"given up after {fetch.retries} rounds over every source; {_last(settlement)}"
        )
    delay = min(BACKOFF * 2 ** (retries - 1), BACKOFF_AT_MOST) * (1 + rng.random() * 0.2)
    stands = tuple(source for source in fetch.excluded if source in unreadable)
    return _wait(fetch, stands, unreadable, rotations, retries, delay=delay, why=settlement.outcome.value)


def _others(snapshot: Snapshot, settlement: Settlement, fetch: Fetch) -> bool:
    """Whether a source is left that may see what this one does not, and a credential to ask it with."""
    left = set(fetch.chain) - {fetch.source, *fetch.unreadable}
    return any(
        each.enabled and not each.dead and settlement.operation not in each.denied
        for source in left
        for each in snapshot.serving(source, "")
    )


def _all_unseen(fetch: Fetch) -> bool:
    """Whether no source refused the call, or gave an answer that could not be read or was about somebody else: that is no evidence that
    there is none."""
    return not set(fetch.unreadable) & set(fetch.excluded)


def _is_open(snapshot: Snapshot, settlement: Settlement) -> bool:
    """Whether the breaker of the source that failed is open for this operation, so that waiting for it would be waiting for an outage's end."""
    return open_until(snapshot, settlement) is not None


def _wait(
    fetch: Fetch,
    excluded: tuple[str, ...],
    unreadable: tuple[str, ...],
    rotations: int,
    retries: int,
    *,
    delay: float = 0.0,
    why: str,
) -> Wait:
    return Wait(fetch.id, excluded, unreadable, rotations, retries, delay=delay, why=why)


def _last(settlement: Settlement) -> str:
    return f"the last call, to {settlement.source}, ended with {settlement.outcome.value}{_told(settlement.code)}"


def _told(code: str) -> str:
    """Of a code what a request's error says, which anybody may read: the HTTP status, or the key that a parser missed. The provider's
    own codes may speak of another's request."""
    first = code.partition("/")[0]
    if STATUS.fullmatch(first):
        return f" (HTTP {first})"
    return f" ({code})" if KEY_PATH.fullmatch(code) else ""
