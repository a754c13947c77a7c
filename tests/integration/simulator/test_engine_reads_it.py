"""The engine's own sources against the simulated providers, over real HTTP: what is parsed is what the population is, through every provider."""

from collections.abc import AsyncIterator

import pytest

from beat_actors.errors import BeatError, Malformed
from beat_actors.platforms.instagram import InstagramAccount, InstagramPost
from beat_actors.platforms.instagram import platform as instagram
from beat_actors.platforms.interface import Answer, FetchSpec, Outcome, Parsed, Source, Verdict
from beat_actors.simulator import Person, SimulatorClient
from beat_actors.transport.http import ProviderClient
from tests.integration.simulator.conftest import PEOPLE
from tests.worlds import simulated_client

KINDS = {1: "image", 2: "reels", 8: "carousel"}
SECRETS = {"graphapi": {"token": "token-1", "user_id": "17841400000000001"}}
UNSURE = frozenset({"graphapi", "lama"})
"""Those that do not see everybody."""
PROFILES = [
    (source, op) for source in instagram.sources.values() for op in source.endpoints if op.startswith("profile_by")
]
LISTINGS = [
    (source, op) for source in instagram.sources.values() for op in source.endpoints if op.startswith("posts_by")
]
ALL = PROFILES + LISTINGS
IDS = [f"{source.name}-{operation}" for source, operation in ALL]


@pytest.fixture
async def http(url: str) -> AsyncIterator[ProviderClient]:
    client = simulated_client(url)
    yield client
    await client.close()


@pytest.fixture
async def impatient(url: str) -> AsyncIterator[ProviderClient]:
    """For what is never answered."""
    client = simulated_client(url, timeout=1.0)
    yield client
    await client.close()


def spec_of(operation: str, person: Person, cursor: str | None = None) -> FetchSpec:
    return FetchSpec(operation, {"handle": person.handle, "profile_id": str(person.pk)}, cursor)


async def ask(http: ProviderClient, source: Source, spec: FetchSpec) -> tuple[Verdict, Answer]:
    call = source.endpoints[spec.operation].build(spec, SECRETS.get(source.name, {"key": "key-1"}))
    exchange = await http.exchange(source, call)
    assert exchange.answer is not None, exchange.failure
    return source.classify(exchange.answer), exchange.answer


async def read(http: ProviderClient, source: Source, spec: FetchSpec) -> Parsed:
    verdict, answer = await ask(http, source, spec)
    assert verdict.outcome is Outcome.OK, verdict
    return source.endpoints[spec.operation].parse(answer.body, spec)


def person_at(index: int) -> Person:
    person = PEOPLE.person(index)
    assert person is not None
    return person


@pytest.mark.parametrize(("source", "operation"), PROFILES, ids=IDS[: len(PROFILES)])
async def test_a_profile_is_the_person(http: ProviderClient, source: Source, operation: str) -> None:
    person = person_at(42)
    parsed = await read(http, source, spec_of(operation, person))
    account = parsed.records[0]
    assert isinstance(account, InstagramAccount)
    assert (account.profile_id, account.handle, account.full_name) == (str(person.pk), person.handle, person.full_name)
    assert (account.followers, account.following, account.media_count) == (
        person.followers,
        person.following,
        person.posts,
    )
    assert (account.biography, account.external_url) == (person.biography, person.website)
    assert account.profile_pic_url
    assert_posts(parsed.records[1:], person, 0)


def assert_posts(records: object, person: Person, start: int) -> int:
    """Records are the person's posts from `start` on; returns how many."""
    posts = [record for record in records if isinstance(record, InstagramPost)]  # type: ignore[attr-defined]
    for record, post in zip(posts, PEOPLE.posts(person, start, len(posts)), strict=True):
        assert (record.shortcode, record.caption) == (post.shortcode, post.caption)
        assert (record.likes, record.comments) == (post.likes, post.comments)
        assert record.post_type == KINDS[post.kind]
        assert record.taken_at is None or record.taken_at.timestamp() == post.taken_at
        assert record.thumbnail_url
        assert record.profile_id in (None, str(person.pk))
        if post.views is not None and record.views is not None:
            assert record.views == post.views
    return len(posts)


@pytest.mark.parametrize(("source", "operation"), LISTINGS, ids=IDS[len(PROFILES) :])
async def test_the_pages_are_all_the_posts(
    http: ProviderClient, admin: SimulatorClient, source: Source, operation: str
) -> None:
    await admin.set_limits(enabled=False)
    person = next(p for p in map(person_at, range(90)) if p.posts > 70)
    seen, cursor, pages = 0, None, 0
    while pages == 0 or cursor is not None:
        parsed = await read(http, source, spec_of(operation, person, cursor))
        seen += assert_posts(parsed.records, person, seen)
        cursor, pages = parsed.next_cursor, pages + 1
    assert seen == person.posts
    assert pages > 1


@pytest.mark.parametrize(("source", "operation"), ALL, ids=IDS)
async def test_nobody_is_missing_and_no_more(http: ProviderClient, source: Source, operation: str) -> None:
    spec = FetchSpec(operation, {"handle": "creator_000097", "profile_id": str(person_at(96).pk + 7919)})
    said = Outcome.UNSEEN if source.name in UNSURE else Outcome.MISSING
    assert await outcome(http, source, spec) is said


async def outcome(http: ProviderClient, source: Source, spec: FetchSpec) -> Outcome:
    """The verdict, or the parser's where the verdict is left to it."""
    verdict, answer = await ask(http, source, spec)
    if verdict.outcome is not Outcome.OK:
        return verdict.outcome
    try:
        source.endpoints[spec.operation].parse(answer.body, spec)
    except BeatError as error:
        return Outcome(error.code) if error.code in list(Outcome) else Outcome.MALFORMED
    return Outcome.OK


@pytest.mark.parametrize(("source", "operation"), PROFILES, ids=IDS[: len(PROFILES)])
async def test_somebody_elses_profile_and_negative_numbers_are_malformed(
    http: ProviderClient, admin: SimulatorClient, source: Source, operation: str
) -> None:
    for fault in ({"kind": "wrong_user"}, {"kind": "corrupt", "body": "negative"}):
        await admin.add_fault(source=source.name, **fault)
        spec = spec_of(operation, person_at(42))
        verdict, answer = await ask(http, source, spec)
        assert verdict.outcome is Outcome.OK
        with pytest.raises(Malformed):
            source.endpoints[operation].parse(answer.body, spec)


@pytest.mark.parametrize("name", instagram.sources)
async def test_a_spent_plan_waits_for_the_reset(http: ProviderClient, admin: SimulatorClient, name: str) -> None:
    source = instagram.sources[name]
    await admin.add_fault("quota", name, retry_after=7200)
    verdict, _ = await ask(http, source, spec_of("profile_by_handle", person_at(42)))
    assert verdict.outcome in (Outcome.QUOTA_EXHAUSTED, Outcome.RATE_LIMITED)
    assert verdict.retry_after is not None


@pytest.mark.parametrize("kind", ["hang", "reset", "gigabyte", "gzip_bomb", "redirect", "slow_loris"])
async def test_a_hostile_answer_ends_as_a_failure(impatient: ProviderClient, admin: SimulatorClient, kind: str) -> None:
    source = instagram.sources["lama"]
    await admin.add_fault(kind, "lama")
    call = source.endpoints["profile_by_handle"].build(spec_of("profile_by_handle", person_at(42)), {"key": "key-1"})
    exchange = await impatient.exchange(source, call)
    assert exchange.answer is None
    assert exchange.failure is not None


async def test_one_exchange_is_one_call_also_when_the_connection_breaks(
    http: ProviderClient, admin: SimulatorClient
) -> None:
    source = instagram.sources["lama"]
    await admin.add_fault("reset", "lama")
    call = source.endpoints["profile_by_handle"].build(spec_of("profile_by_handle", person_at(42)), {"key": "key-1"})
    await http.exchange(source, call)
    assert (await admin.ledger())["calls"] == 1
