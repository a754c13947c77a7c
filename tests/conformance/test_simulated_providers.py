"""One suite for every source and its simulated provider, over HTTP: a new provider gets it by existing, and so does its simulated provider.

What a source asks is answered by the simulated provider, what that answers the source reads; its pages end; its faults are judged as what they are;
and what the source allows itself is no more than the simulated provider does.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest

from beat_actors.errors import BeatError
from beat_actors.platforms.interface import CHECK, FetchSpec, Limit, Outcome, Parsed
from beat_actors.simulator import Person, Population, SimulatorClient, SimulatorConfig, running
from beat_actors.simulator.faults import FaultKind
from beat_actors.simulator.provider import SimulatedProvider, Window
from beat_actors.simulator.registry import simulated_providers
from beat_actors.simulator.shapes.relations import stories
from beat_actors.transport.http import ProviderClient
from tests.conformance.test_sources import REFUSALS, TABLES, every_endpoint, every_source
from tests.worlds import simulated_client

PEOPLE = Population(300, 1, drift_seconds=0)
PERSON: Person = next(
    person
    for index in range(300)
    if (person := PEOPLE.person(index)) and not person.is_private and person.posts > 60 and stories(PEOPLE, person)
)
PAGES = 60
"""More than any listing of the population has."""

UNREADABLE = frozenset({Outcome.MALFORMED})
OTHERS = frozenset(
    {Outcome.MALFORMED, Outcome.OK, Outcome.MISSING, Outcome.UNSEEN, Outcome.REFUSED, Outcome.UPSTREAM_DOWN}
)
REFUSED = frozenset({Outcome.RATE_LIMITED, Outcome.QUOTA_EXHAUSTED})
BROKEN = frozenset({Outcome.UPSTREAM_DOWN})
JUDGED: Mapping[FaultKind, frozenset[Outcome]] = {
    FaultKind.OUTAGE: BROKEN,
    FaultKind.RATE_LIMIT: REFUSED,
    FaultKind.QUOTA: REFUSED,
    FaultKind.REVOKED: frozenset({Outcome.CREDENTIAL_DEAD}),
    FaultKind.SLOW: frozenset({Outcome.OK}),
    FaultKind.MISSING_KEY: UNREADABLE,
    FaultKind.WRONG_TYPE: UNREADABLE,
    FaultKind.HTML: UNREADABLE,
    FaultKind.TRUNCATED: UNREADABLE,
    # Where it is the key that says whose things are asked for, somebody else's may not be there.
    FaultKind.WRONG_USER: OTHERS,
    FaultKind.UNSTORABLE: UNREADABLE,
    FaultKind.HUGE: OTHERS,  # a time that cannot be is unknown, and a status that stands in the body is damaged too
    FaultKind.NESTED: UNREADABLE,
    FaultKind.CORRUPT: frozenset({Outcome.OK}),
}
UNANSWERED = frozenset(FaultKind) - set(JUDGED)
"""Those of which nothing comes back that could be read, whatever was asked."""


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with running(SimulatorConfig(profiles=PEOPLE.size, drift_seconds=0)) as url:
        yield url


@pytest.fixture
async def admin(url: str) -> AsyncIterator[SimulatorClient]:
    async with SimulatorClient(url) as client:
        await client.set_limits(enabled=False)
        yield client


@pytest.fixture
async def http(url: str, admin: SimulatorClient) -> AsyncIterator[ProviderClient]:
    del admin
    client = simulated_client(url)
    yield client
    await client.close()


@pytest.fixture
async def impatient(url: str, admin: SimulatorClient) -> AsyncIterator[ProviderClient]:
    """For what is never answered."""
    del admin
    client = simulated_client(url, timeout=1.0)
    yield client
    await client.close()


def known(platform: Any, operation: str) -> dict[str, Any]:
    """Parameters of things that the simulated providers have, and fields of credentials that open them."""
    table = TABLES[platform.name]
    somebody = {"handle": PERSON.handle, "username": PERSON.handle, "profile_id": str(PERSON.pk)}
    there = table.there(PEOPLE, PERSON, operation) if hasattr(table, "there") else {}
    return {name: value for name, value in {**table.PARAMS, **somebody, **there}.items() if value is not None}


async def ask(
    http: ProviderClient, platform: Any, source: Any, operation: str, cursor: str | None = None, page: int = 1
) -> tuple[Outcome, Parsed | None, Any]:
    """What a call comes to, as the stages would have it; what was read; and the next page's cursor."""
    params, endpoint = known(platform, operation), source.endpoints[operation]
    spec = FetchSpec(operation, params, cursor, source.name, page)
    secret = {name: str(params.get(name, f"{name}-1")) for name in source.secret_fields}
    exchange = await http.exchange(source, endpoint.build(spec, secret))
    if exchange.answer is None:
        assert exchange.failure is not None
        return Outcome.UPSTREAM_DOWN, None, None
    verdict = source.classify(exchange.answer)
    if verdict.outcome is not Outcome.OK:
        return verdict.outcome, None, None
    try:
        parsed = endpoint.parse(exchange.answer.body, spec)
    except BeatError as error:
        return Outcome(error.code) if error.code in list(Outcome) else Outcome.MALFORMED, None, None
    return Outcome.OK, parsed, parsed.next_cursor or source.next_cursor(exchange.answer)


def is_for_another(platform: Any, source: Any, operation: str, cursor: str) -> bool:
    """Whether it makes no difference to this operation's call: what came along with it is paged by another."""
    params, build = known(platform, operation), source.endpoints[operation].build
    secret = {name: str(params.get(name, f"{name}-1")) for name in source.secret_fields}
    with_it, without = (FetchSpec(operation, params, each, source.name) for each in (cursor, None))
    return bool(build(with_it, secret) == build(without, secret))


@every_source
def test_s10_11_every_source_has_a_simulated_provider_and_recorded_refusals(platform: Any, source: Any) -> None:
    assert source.name in simulated_providers()
    assert any(refusal.source == source.name for refusal in REFUSALS)


@every_endpoint
async def test_s10_11_pages_are_read_to_the_end_and_none_twice(
    http: ProviderClient, platform: Any, source: Any, operation: str
) -> None:
    seen: set[str] = set()
    cursors: set[str | None] = set()
    cursor: str | None = None
    for page in range(1, PAGES + 1):
        came_to, parsed, following = await ask(http, platform, source, operation, cursor, page)
        assert came_to is Outcome.OK
        assert parsed is not None
        keys = [
            f"{platform.entity_of(record).kind} {msgspec.structs.asdict(record)[platform.entity_of(record).key]}"
            for record in parsed.records
        ]
        keys += parsed.listed
        assert keys or page > 1, "the first page holds nothing"
        assert len(keys) == len(set(keys))
        assert not seen & set(keys)
        seen |= set(keys)
        cursors.add(cursor)
        cursor = following
        if cursor is None or is_for_another(platform, source, operation, cursor):
            return
        assert cursor not in cursors
    pytest.fail(f"no end after {PAGES} pages")


@every_endpoint
async def test_s1_1_each_fault_of_the_simulated_provider_is_judged_as_what_it_is(
    http: ProviderClient, admin: SimulatorClient, platform: Any, source: Any, operation: str
) -> None:
    came_to, whole, _ = await ask(http, platform, source, operation)
    assert came_to is Outcome.OK
    for kind, expected in JUDGED.items():
        await admin.add_fault(kind.value, source.name, **({"delay": 0.05} if kind is FaultKind.SLOW else {}))
        came_to, parsed, _ = await ask(http, platform, source, operation)
        await admin.clear_faults()
        # What is damaged may be nothing that this operation reads.
        assert came_to in expected or (came_to is Outcome.OK and parsed == whole), kind


@pytest.mark.slow
@every_source
async def test_s1_1_what_does_not_end_is_broken_off(
    impatient: ProviderClient, admin: SimulatorClient, platform: Any, source: Any
) -> None:
    for kind in sorted(UNANSWERED):
        await admin.add_fault(kind.value, source.name)
        came_to, _, _ = await ask(impatient, platform, source, next(iter(source.endpoints)))
        await admin.clear_faults()
        assert came_to is Outcome.UPSTREAM_DOWN, kind


@every_source
def test_s9_1_a_source_allows_itself_no_more_than_its_simulated_provider(platform: Any, source: Any) -> None:
    """In any window of the simulated provider's, for each operation and for the check: some limit of ours is over before it."""
    provider = simulated_providers()[source.name]
    operations = [*source.endpoints, *([CHECK] if source.check is not None else [])]
    for window in provider.limits:
        if window.quota and window.calendar is None:
            continue  # a plan that was bought: how much is left, its headers say
        for operation in operations:
            if window.counts(known_as(provider, operation)):
                assert any(is_within(limit, window, operation) for limit in source.limits), (window, operation)


def known_as(provider: SimulatedProvider, operation: str) -> str:
    """The simulated provider's word for it; what only the engine has a word for counts as anything else does."""
    return operation if any(one.name == operation for one in provider.operations) else ""


def is_within(limit: Limit, window: Window, operation: str) -> bool:
    if limit.operations is not None and operation not in limit.operations:
        return False
    return limit.calls <= window.calls and (limit.seconds >= window.seconds or limit.calendar == window.calendar)
