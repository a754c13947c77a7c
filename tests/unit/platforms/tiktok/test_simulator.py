"""TikTok's simulated providers, read by the engine's own sources over HTTP: what is parsed is what the population is, through both."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from beat_actors.errors import BeatError, Malformed
from beat_actors.platforms.interface import Answer, FetchSpec, Outcome, Parsed, Source
from beat_actors.platforms.tiktok import TikTokAccount, TikTokCrawler, TikTokPost, platform
from beat_actors.platforms.tiktok.simulator import plays, sec_uid
from beat_actors.settings import Settings
from beat_actors.simulator import Person, Population, SimulatorClient, SimulatorConfig, running
from beat_actors.transport.http import ProviderClient
from tests.conftest import FIXTURES, MESSAGE_KEYS, VAULT_KEYS

PEOPLE = Population(200, 1, drift_seconds=0)
PERSON = next(
    person for index in range(200) if (person := PEOPLE.person(index)) and person.posts > 70 and not person.is_private
)
POST = PEOPLE.post(PERSON, 3)
PRIVATE = PEOPLE.handle(98)
ENDPOINTS = [(source, operation) for source in platform.sources.values() for operation in source.endpoints]
IDS = [f"{source.name}-{operation}" for source, operation in ENDPOINTS]
every_endpoint = pytest.mark.parametrize(("source", "operation"), ENDPOINTS, ids=IDS)
every_source = pytest.mark.parametrize("source", platform.sources.values(), ids=lambda source: source.name)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with running(SimulatorConfig(profiles=200, drift_seconds=0)) as url:
        yield url


@pytest.fixture
async def admin(url: str) -> AsyncIterator[SimulatorClient]:
    async with SimulatorClient(url) as client:
        yield client


@pytest.fixture
async def http(url: str) -> AsyncIterator[ProviderClient]:
    settings = Settings(
        database_url="postgresql://nobody@localhost/none",
        redis_url="redis://localhost",
        vault_keys=VAULT_KEYS,
        message_keys=MESSAGE_KEYS,
        environment="rehearsal",
        simulator_url=url,
    )
    client = ProviderClient(settings)
    yield client
    await client.close()


def spec_of(operation: str, person: Person = PERSON, **params: str) -> FetchSpec:
    about = {
        "handle": person.handle,
        "profile_id": str(person.pk),
        "sec_uid": sec_uid(person),
        "post_id": str(PEOPLE.post(person, 3).pk),
    }
    return FetchSpec(operation, {**about, **params})


async def ask(http: ProviderClient, source: Source, spec: FetchSpec, key: str = "key-1") -> Answer:
    exchange = await http.exchange(source, source.endpoints[spec.operation].build(spec, {"key": key}))
    assert exchange.answer is not None, exchange.failure
    return exchange.answer


async def read(http: ProviderClient, source: Source, spec: FetchSpec) -> Parsed:
    answer = await ask(http, source, spec)
    assert source.classify(answer).outcome is Outcome.OK, answer.body
    return source.endpoints[spec.operation].parse(answer.body, spec)


async def outcome(http: ProviderClient, source: Source, spec: FetchSpec) -> Outcome:
    """The verdict, or the parser's where the verdict is left to it."""
    answer = await ask(http, source, spec)
    verdict = source.classify(answer).outcome
    if verdict is not Outcome.OK:
        return verdict
    try:
        source.endpoints[spec.operation].parse(answer.body, spec)
    except Malformed:
        return Outcome.MALFORMED
    except BeatError as error:
        return Outcome(error.code)
    return Outcome.OK


@every_source
async def test_a_profile_is_the_person(http: ProviderClient, source: Source) -> None:
    (account,) = (await read(http, source, spec_of("profile_by_handle"))).records
    assert isinstance(account, TikTokAccount)
    assert (account.profile_id, account.handle, account.full_name) == (str(PERSON.pk), PERSON.handle, PERSON.full_name)
    assert (account.followers, account.following, account.media_count) == (
        PERSON.followers,
        PERSON.following,
        PERSON.posts,
    )
    assert (account.biography, account.external_url, account.sec_uid) == (
        PERSON.biography,
        PERSON.website,
        sec_uid(PERSON),
    )
    assert account.profile_pic_url


@every_source
async def test_the_pages_are_all_the_posts_once(http: ProviderClient, admin: SimulatorClient, source: Source) -> None:
    await admin.set_limits(enabled=False)
    spec, found, pages = spec_of("posts_by_id"), [], 0
    while pages == 0 or spec.cursor is not None:
        page = await read(http, source, spec)
        found += page.records
        spec, pages = replace(spec, cursor=page.next_cursor), pages + 1
    assert pages == -(-PERSON.posts // 30)
    for record, post in zip(found, PEOPLE.posts(PERSON, 0, PERSON.posts), strict=True):
        assert isinstance(record, TikTokPost)
        assert (record.post_id, record.caption, record.likes, record.views) == (
            str(post.pk),
            post.caption,
            post.likes,
            plays(post),
        )
        assert (record.profile_id, record.handle, record.taken_at.timestamp()) == (
            str(PERSON.pk),
            PERSON.handle,
            post.taken_at,
        )
        assert record.post_type == ("video" if post.kind == 2 else "photo")
    assert {record.post_type for record in found} == {"video", "photo"}


async def test_both_providers_report_the_same_of_a_post(http: ProviderClient) -> None:
    spec = spec_of("post_by_id")
    (one,), (other,) = [(await read(http, source, spec)).records for source in platform.sources.values()]
    assert one == msgspec.structs.replace(other, media_url=one.media_url)
    assert one.post_id == str(POST.pk)


@pytest.mark.parametrize("name", ["tikwm", "api23"])
async def test_comments_are_paged(http: ProviderClient, admin: SimulatorClient, name: str) -> None:
    await admin.set_limits(enabled=False)
    source, post = platform.sources[name], max(PEOPLE.posts(PERSON, 0, PERSON.posts), key=lambda post: post.comments)
    spec = spec_of("comments_by_post", post_id=str(post.pk))
    ids: list[str] = []
    while True:
        page = await read(http, source, spec)
        ids += [record.comment_id for record in page.records]  # type: ignore[attr-defined]
        if page.next_cursor is None:
            break
        spec = replace(spec, cursor=page.next_cursor)
    assert len(ids) == len(set(ids)) == min(post.comments, 100)


async def test_both_sources_describe_the_same_comments(http: ProviderClient) -> None:
    spec = spec_of("comments_by_post")
    one, other = [(await read(http, source, spec)).records for source in platform.sources.values()]
    assert one
    assert one == other


@every_endpoint
async def test_nobody_is_missing_and_no_more(http: ProviderClient, source: Source, operation: str) -> None:
    nobody = {
        "handle": PEOPLE.handle(97),
        "post_id": "7000000000000000001",
        "profile_id": "1",
        "sec_uid": "MS4wLjABAAAAx",
    }
    found = await outcome(http, source, spec_of(operation, **nobody))
    # What tikwm says of a number that is nobody's is not known; what the web says of a post that is gone, it says of blocked callers too.
    unsure = (source.name, operation) in (
        ("tikwm", "posts_by_id"),
        ("api23", "post_by_id"),
        ("api23", "comments_by_post"),
    )
    seen = Outcome.UNSEEN if source.name == "tikwm" and "post" in operation else Outcome.MISSING
    assert found in ((Outcome.UPSTREAM_DOWN, Outcome.REFUSED) if unsure else (seen,))


@every_source
async def test_the_private_show_their_profile_and_nothing_else(
    http: ProviderClient, admin: SimulatorClient, source: Source
) -> None:
    await admin.set_limits(enabled=False)
    person = PEOPLE.by_handle(PRIVATE)
    assert person is not None
    (account,) = (await read(http, source, spec_of("profile_by_handle", person))).records
    assert account.is_private  # type: ignore[attr-defined]
    posts = await ask(http, source, spec_of("posts_by_id", person))
    assert str(PEOPLE.post(person, 0).pk).encode() not in posts.body
    final = {"tikwm": Outcome.UNSEEN, "api23": Outcome.PRIVATE}
    assert await outcome(http, source, spec_of("post_by_id", person)) is final[source.name]


@every_endpoint
async def test_s8_8_somebody_elses_answer_and_negative_numbers_are_malformed(
    http: ProviderClient, admin: SimulatorClient, source: Source, operation: str
) -> None:
    await admin.set_limits(enabled=False)
    faults: list[dict[str, Any]] = [{"kind": "corrupt", "body": "negative"}]
    if operation in ("profile_by_handle", "posts_by_id"):  # a post's number leads to its own author alone
        faults.append({"kind": "wrong_user"})
    for fault in faults:
        await admin.clear_faults()
        await admin.add_fault(source=source.name, **fault)
        assert await outcome(http, source, spec_of(operation)) is Outcome.MALFORMED


async def test_s10_6_the_simulated_providers_keep_the_providers_limits(http: ProviderClient) -> None:
    tikwm, api23 = (platform.sources[name] for name in ("tikwm", "api23"))
    spec = TikTokCrawler.fetch_profile_by_handle(PERSON.handle)
    answers = [await ask(http, tikwm, spec) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]  # it says so in a 200
    assert [tikwm.classify(answer).outcome for answer in answers] == [Outcome.OK, Outcome.RATE_LIMITED]
    assert [(await ask(http, api23, spec)).status for _ in range(3)] == [200, 200, 429]
    assert tikwm.classify(answers[0]).reported is not None


def leaves(value: Any, path: str = "") -> Iterator[str]:
    yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, f"{path}.{key}")
    elif isinstance(value, list):
        for each in value[:1]:
            yield from leaves(each, f"{path}[]")


@pytest.mark.parametrize(
    ("source", "operation", "path", "inner"),
    [
        ("tikwm", "profile_by_handle", "tikwm/tikwm_user_info", None),
        ("tikwm", "posts_by_id", "tikwm/tikwm_user_posts", None),
        ("tikwm", "comments_by_post", "tikwm/tikwm_comment_list", None),
        ("api23", "profile_by_handle", "web/user", "userInfo"),
    ],
)
async def test_a_simulated_provider_answers_in_the_recorded_shape(
    http: ProviderClient, source: str, operation: str, path: str, inner: str | None
) -> None:
    recorded = msgspec.json.decode((FIXTURES / f"tiktok/{path}.json").read_bytes())
    answer = msgspec.json.decode((await ask(http, platform.sources[source], spec_of(operation))).body)
    if inner is not None:
        recorded, answer = recorded[inner], answer[inner]
    # What of a commenter is always empty.
    empty = {"aweme_count", "follower_count", "favoriting_count", "total_favorited"}
    empty |= {"youtube_channel_title", "youtube_channel_id", "twitter_name", "twitter_id"}
    lacking = {leaf for leaf in set(leaves(recorded)) - set(leaves(answer)) if leaf.rpartition(".")[2] not in empty}
    assert not {leaf for leaf in lacking if ".shareMeta" not in leaf}
