"""Instagram's further operations against the simulated providers, over real HTTP: what is parsed is what the population is."""

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest

from beat_actors.errors import BeatError
from beat_actors.platforms.instagram import (
    InstagramAccount,
    InstagramComment,
    InstagramFollow,
    InstagramPost,
    InstagramPostInsight,
    InstagramProfileInsight,
    InstagramStory,
)
from beat_actors.platforms.instagram import platform as instagram
from beat_actors.platforms.interface import Answer, FetchSpec, Outcome, Parsed, Source, Verdict
from beat_actors.settings import Settings
from beat_actors.simulator import Person, SimulatorClient
from beat_actors.simulator.shapes import relations
from beat_actors.simulator.shapes.graph_media import media_id
from beat_actors.transport.http import ProviderClient
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS
from tests.integration.simulator.conftest import PEOPLE

PERSON = next(
    person
    for index in range(200)
    if (person := PEOPLE.person(index)) and not person.is_private and len(relations.stories(PEOPLE, person)) == 3
)
NEWEST = PEOPLE.post(PERSON, 0)
CAROUSEL = next(post for post in PEOPLE.posts(PERSON, 0, PERSON.posts) if post.kind == 8)
STORY = relations.stories(PEOPLE, PERSON)[0]
PARAMS = {
    "handle": PERSON.handle,
    "profile_id": str(PERSON.pk),
    "user_id": str(PERSON.fbid),
    "shortcode": NEWEST.shortcode,
    "hashtag": "recipes",
    "media_id": media_id(PERSON, NEWEST),
    "media_type": "image",
    "metric": "follower_demographics",
    "breakdown": "country",
    "timeframe": "last_90_days",
}
OTHERS = [
    (source, operation)
    for source in instagram.sources.values()
    for operation in source.endpoints
    if not operation.startswith(("profile_by", "posts_by"))
]
MANY = ("reels_by_id", "tagged_by_id", "followers_by_id", "following_by_id", "hashtag_posts", "own_posts", "own_tagged")
LISTS = [(source, operation) for source, operation in OTHERS if operation in MANY]


def named(found: list[tuple[Source, str]]) -> list[str]:
    return [f"{source.name}-{operation}" for source, operation in found]


@pytest.fixture
async def http(url: str, admin: SimulatorClient) -> AsyncIterator[ProviderClient]:
    await admin.set_limits(enabled=False)
    client = ProviderClient(
        Settings(
            database_url="postgresql://nobody@localhost/none",
            redis_url="redis://localhost",
            vault_keys=VAULT_KEYS,
            message_keys=MESSAGE_KEYS,
            environment="rehearsal",
            simulator_url=url,
        )
    )
    yield client
    await client.close()


def secret(source: Source) -> dict[str, str]:
    return {"token": "token-1", "user_id": str(PERSON.fbid)} if source.name == "graphapi" else {"key": "key-1"}


async def ask(http: ProviderClient, source: Source, spec: FetchSpec) -> tuple[Verdict, Answer]:
    exchange = await http.exchange(source, source.endpoints[spec.operation].build(spec, secret(source)))
    assert exchange.answer is not None, exchange.failure
    return source.classify(exchange.answer), exchange.answer


async def read(http: ProviderClient, name: str, operation: str, cursor: str | None = None, **params: str) -> Parsed:
    source, spec = instagram.sources[name], FetchSpec(operation, PARAMS | params, cursor)
    verdict, answer = await ask(http, source, spec)
    assert verdict.outcome is Outcome.OK, verdict
    return source.endpoints[operation].parse(answer.body, spec)


@pytest.mark.parametrize("name", ["arraybobo", "jotucker", "lama"])
@pytest.mark.parametrize("post", [NEWEST, CAROUSEL], ids=["newest", "carousel"])
async def test_a_post_is_the_post(http: ProviderClient, name: str, post: Any) -> None:
    (found,) = (await read(http, name, "post_by_shortcode", shortcode=post.shortcode)).records
    assert isinstance(found, InstagramPost)
    assert (found.shortcode, found.post_id, found.profile_id) == (post.shortcode, str(post.pk), str(PERSON.pk))
    assert (found.likes, found.comments, found.caption) == (post.likes, post.comments, post.caption)


@pytest.mark.parametrize("name", ["arraybobo", "lama", "graphapi"])
async def test_the_stories_are_the_same_through_every_provider(http: ProviderClient, name: str) -> None:
    operation = "own_stories" if name == "graphapi" else "stories_by_id"
    found = (await read(http, name, operation)).records
    assert all(isinstance(story, InstagramStory) for story in found)
    assert [story.story_id for story in found] == [str(story.pk) for story in relations.stories(PEOPLE, PERSON)]
    assert {story.handle for story in found} == {PERSON.handle}
    assert all((story.taken_at and story.thumbnail_url) or story.media_url for story in found)


@pytest.mark.parametrize("name", ["arraybobo", "lama"])
async def test_who_has_no_stories_has_none_and_is_not_missing(http: ProviderClient, name: str) -> None:
    quiet = next(
        person
        for index in range(200)
        if (person := PEOPLE.person(index)) and not person.is_private and not relations.stories(PEOPLE, person)
    )
    assert not (await read(http, name, "stories_by_id", profile_id=str(quiet.pk))).records


@pytest.mark.parametrize(("source", "operation"), LISTS, ids=named(LISTS))
async def test_pages_follow_one_another_without_repeating(http: ProviderClient, source: Source, operation: str) -> None:
    entity, pages, cursor = None, [], None
    while len(pages) < 3 and (not pages or cursor is not None):
        parsed = await read(http, source.name, operation, cursor)
        entity = instagram.entity_of(parsed.records[0])
        pages.append([getattr(record, entity.key) for record in parsed.records])
        cursor = parsed.next_cursor
    assert all(not set(one) & set(other) for one, other in pairwise(pages))
    if operation == "own_posts":
        assert [each for page in pages for each in page] == [
            post.shortcode for post in PEOPLE.posts(PERSON, 0, PERSON.posts)
        ]


@pytest.mark.parametrize("name", ["jotucker", "lama"])
async def test_followers_follow_and_the_followed_are_followed(http: ProviderClient, name: str) -> None:
    followers = (await read(http, name, "followers_by_id")).records
    following = (await read(http, name, "following_by_id")).records
    pk = str(PERSON.pk)
    assert all(isinstance(record, InstagramFollow) for record in (*followers, *following))
    assert {record.followed_id for record in followers} == {pk} == {record.follower_id for record in following}
    first: Person = relations.neighbours(PEOPLE, PERSON, 0, 1)[0]
    assert (followers[0].follow_id, followers[0].follower_handle) == (f"{first.pk}:{pk}", first.handle)


async def test_comments_are_the_same_by_shortcode_and_by_id(http: ProviderClient) -> None:
    public = (await read(http, "jotucker", "comments_by_shortcode")).records
    second = (await read(http, "lama", "comments_by_shortcode")).records
    both = min(len(public), len(second))
    assert second[:both] == public[:both]
    own = (await read(http, "graphapi", "own_comments")).records
    assert public
    assert all(isinstance(record, InstagramComment) for record in (*public, *own))
    assert [(c.comment_id, c.text, c.handle) for c in public] == [(c.comment_id, c.text, c.handle) for c in own]
    assert {c.shortcode for c in public} == {NEWEST.shortcode}
    assert {c.post_id for c in own} == {media_id(PERSON, NEWEST)}


async def test_the_own_account_is_the_one_that_everybody_sees(http: ProviderClient) -> None:
    (account,) = (await read(http, "graphapi", "own_profile")).records
    assert isinstance(account, InstagramAccount)
    assert (account.profile_id, account.followers) == (str(PERSON.pk), PERSON.followers)
    (post,) = (await read(http, "graphapi", "own_post")).records
    assert (post.shortcode, post.likes) == (NEWEST.shortcode, NEWEST.likes)
    (story,) = (await read(http, "graphapi", "own_story", media_id=media_id(PERSON, STORY))).records
    assert story.story_id == str(STORY.pk)
    children = (await read(http, "graphapi", "own_children", media_id=media_id(PERSON, CAROUSEL))).records
    assert len(children) == CAROUSEL.children
    assert {child.carousel_id for child in children} == {media_id(PERSON, CAROUSEL)}


async def test_insights_are_numbers_with_their_parts(http: ProviderClient) -> None:
    profile = (await read(http, "graphapi", "profile_insights", breakdown="gender,age")).records
    assert all(isinstance(record, InstagramProfileInsight) for record in profile)
    assert {"F,25-34", "M,25-34"} < {record.dimension for record in profile}
    post = (await read(http, "graphapi", "post_insights")).records
    assert all(isinstance(record, InstagramPostInsight) for record in post)
    assert {"views", "reach", "saved"} < {record.metric for record in post}
    story = {"media_id": media_id(PERSON, STORY)}
    assert {"replies", "views"} < {r.metric for r in (await read(http, "graphapi", "story_insights", **story)).records}
    navigation = (await read(http, "graphapi", "story_navigation", **story)).records
    assert {"tap_forward", "tap_back", "tap_exit"} < {record.dimension for record in navigation}


@pytest.mark.parametrize(("source", "operation"), OTHERS, ids=named(OTHERS))
async def test_what_is_not_there_is_missing(http: ProviderClient, source: Source, operation: str) -> None:
    if operation == "hashtag_posts":
        pytest.skip("every hashtag has posts here")
    nowhere = {"profile_id": "1", "shortcode": "AAAAAAAAAAA", "media_id": "18999999999999999"}
    own = {"token": "token-1", "user_id": "17841499999999999"} if source.name == "graphapi" else secret(source)
    spec = FetchSpec(operation, PARAMS | nowhere | {"user_id": "17841499999999999"})
    exchange = await http.exchange(source, source.endpoints[operation].build(spec, own))
    assert exchange.answer is not None
    verdict = source.classify(exchange.answer).outcome
    if verdict is Outcome.OK:
        with pytest.raises(BeatError, match="no such"):
            source.endpoints[operation].parse(exchange.answer.body, spec)
    else:
        assert verdict in (Outcome.MISSING, Outcome.UNSEEN)


FAULTS = {
    "outage": Outcome.UPSTREAM_DOWN,
    "rate_limit": Outcome.RATE_LIMITED,
    "revoked": Outcome.CREDENTIAL_DEAD,
    "html": Outcome.MALFORMED,
    "truncated": Outcome.MALFORMED,
}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize(("source", "operation"), OTHERS, ids=named(OTHERS))
async def test_a_fault_is_judged_as_what_it_is(
    http: ProviderClient, admin: SimulatorClient, source: Source, operation: str, kind: str
) -> None:
    await admin.add_fault(kind, source.name, operation=operation)
    spec = FetchSpec(operation, PARAMS)
    verdict, answer = await ask(http, source, spec)
    outcome = verdict.outcome
    if outcome is Outcome.OK:
        with pytest.raises(BeatError) as refused:
            source.endpoints[operation].parse(answer.body, spec)
        outcome = Outcome(refused.value.code)
    assert outcome is FAULTS[kind]


@pytest.mark.parametrize("name", ["graphapi", "lama"])
async def test_a_check_says_whether_a_credential_lives(http: ProviderClient, admin: SimulatorClient, name: str) -> None:
    source = instagram.sources[name]
    assert source.check is not None

    async def health() -> Any:
        exchange = await http.exchange(source, source.check.build(secret(source)))
        return source.check.read(exchange.answer)

    assert (await health()).verdict.outcome is Outcome.OK
    await admin.add_fault("revoked", name)
    assert (await health()).verdict.outcome is Outcome.CREDENTIAL_DEAD
