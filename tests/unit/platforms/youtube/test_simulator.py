"""The Data API's simulated provider, read by the engine's own source over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from beat_actors.errors import BeatError
from beat_actors.platforms.interface import Answer, FetchSpec, Outcome, Parsed
from beat_actors.platforms.youtube import YouTubeCrawler, platform
from beat_actors.platforms.youtube.simulator import ids as simulated
from beat_actors.platforms.youtube.simulator.bodies import iso
from beat_actors.settings import Settings
from beat_actors.simulator import Population, SimulatorClient, SimulatorConfig, running
from beat_actors.transport.http import ProviderClient
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS

SOURCE = platform.sources["ytapi"]
PEOPLE = Population(500, 1, drift_seconds=0)
PERSON = next(p for n in range(500) if (p := PEOPLE.person(n)) and p.posts > 100)
CHANNEL = simulated.channel_id(PEOPLE, PERSON.index)
UPLOADS = "UU" + CHANNEL[2:]
VIDEOS = [
    (simulated.video_id(PEOPLE, PERSON.index, post.ordinal), post) for post in PEOPLE.posts(PERSON, 0, PERSON.posts)
]
THERE = [(name, post) for name, post in VIDEOS if not simulated.gone(post)]
VIDEO, POST = THERE[3]


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with running(SimulatorConfig(profiles=500, drift_seconds=0)) as url:
        yield url


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


@pytest.fixture
async def admin(url: str) -> AsyncIterator[SimulatorClient]:
    async with SimulatorClient(url) as client:
        yield client


async def ask(http: ProviderClient, spec: FetchSpec, key: str = "key-1", **query: str) -> Answer:
    call = SOURCE.endpoints[spec.operation].build(spec, {"key": key})
    exchange = await http.exchange(SOURCE, replace(call, query={**call.query, **query}))
    assert exchange.answer is not None, exchange.failure
    return exchange.answer


async def read(http: ProviderClient, spec: FetchSpec) -> Parsed:
    answer = await ask(http, spec)
    assert SOURCE.classify(answer).outcome is Outcome.OK, answer.body
    return SOURCE.endpoints[spec.operation].parse(answer.body, spec)


async def outcome(http: ProviderClient, spec: FetchSpec, **query: str) -> Outcome:
    """The verdict, or the parser's where the verdict is left to it."""
    answer = await ask(http, spec, **query)
    verdict = SOURCE.classify(answer)
    if verdict.outcome is not Outcome.OK:
        return verdict.outcome
    try:
        SOURCE.endpoints[spec.operation].parse(answer.body, spec)
    except BeatError as error:
        return Outcome(error.code)
    return Outcome.OK


async def every_page(http: ProviderClient, spec: FetchSpec) -> list[Parsed]:
    pages = [await read(http, spec)]
    while (cursor := pages[-1].next_cursor) is not None:
        pages.append(await read(http, replace(spec, cursor=cursor)))
    return pages


BY = {
    "id": YouTubeCrawler.fetch_profile_by_id(CHANNEL),
    "handle": YouTubeCrawler.fetch_profile_by_handle(PERSON.handle),
    "username": YouTubeCrawler.fetch_profile_by_username(PERSON.handle),
}


@pytest.mark.parametrize("by", BY)
async def test_a_channel_is_the_person(http: ProviderClient, by: str) -> None:
    (account,) = (await read(http, BY[by])).records
    assert (account.profile_id, account.handle, account.full_name) == (CHANNEL, PERSON.handle, PERSON.full_name)
    assert (account.biography, account.media_count) == (PERSON.biography, PERSON.posts)
    assert 0 <= PERSON.followers - account.followers < PERSON.followers / 100
    assert (account.uploads_playlist_id, account.is_followers_hidden) == (UPLOADS, False)
    assert account.profile_pic_url
    assert account.published_at


async def test_somebody_private_hides_the_subscribers(http: ProviderClient) -> None:
    (account,) = (await read(http, YouTubeCrawler.fetch_profile_by_handle("creator_000098"))).records
    assert (account.followers, account.is_followers_hidden) == (None, True)
    assert account.views


async def test_what_does_not_exist_is_missing(http: ProviderClient) -> None:
    crawler = YouTubeCrawler
    gone = next(name for name, post in VIDEOS if simulated.gone(post))
    for spec in (
        crawler.fetch_profile_by_handle("creator_000097"),
        crawler.fetch_profile_by_username("nobody"),
        crawler.fetch_profile_by_id(CHANNEL[:-1] + ("A" if CHANNEL[-1] != "A" else "B")),
        crawler.fetch_profile_by_id(VIDEO),
        crawler.fetch_post_by_id(gone),
        crawler.fetch_post_by_id("x" * 11),
        crawler.fetch_posts_by_playlist("UU" + "x" * 22),
        crawler.fetch_comments_by_post(gone),
    ):
        assert await outcome(http, spec) is Outcome.MISSING, spec


async def test_the_uploads_are_all_there_and_say_what_is_gone(http: ProviderClient) -> None:
    pages = await every_page(http, YouTubeCrawler.fetch_posts_by_playlist(UPLOADS))
    assert [name for page in pages for name in page.listed] == [name for name, _ in THERE]
    assert len(pages) == -(-PERSON.posts // 50)
    gone = {record.post_id: record.privacy_status for page in pages for record in page.records}
    words = {simulated.PRIVATE: "private", simulated.DELETED: "deleted"}
    assert gone == {name: words[how] for name, post in VIDEOS if (how := simulated.gone(post))}
    assert set(gone.values()) == {"private", "deleted"}


async def test_fifty_videos_are_one_call(http: ProviderClient, admin: SimulatorClient) -> None:
    names = [name for name, _ in VIDEOS[:50]]
    parsed = await read(http, YouTubeCrawler.fetch_posts_by_ids(names))
    assert [record.post_id for record in parsed.records] == [name for name in names if name in dict(THERE)]
    for record in parsed.records:
        post = dict(THERE)[record.post_id]
        assert (record.profile_id, record.description) == (CHANNEL, post.caption)
        assert record.likes == (None if simulated.hides_likes(post) else post.likes)
        assert record.comments == (None if simulated.takes_no_comments(post) else post.comments)
        assert record.taken_at.timestamp() == post.taken_at
        assert record.thumbnail_url
        assert record.views
    assert any(record.likes is None for record in parsed.records)
    assert any(record.ended_at for record in parsed.records)  # there was a premiere
    assert (await admin.ledger())["by_source"]["ytapi"]["by_operation"] == {"posts_by_ids": 1}
    assert await outcome(http, YouTubeCrawler.fetch_posts_by_ids([*names, VIDEO])) is Outcome.BAD_REQUEST


@pytest.mark.parametrize(("last", "state"), [(3, "upcoming"), (4, "live")])
async def test_what_is_live_or_to_come_has_no_duration(http: ProviderClient, last: int, state: str) -> None:
    newest = next(
        simulated.video_id(PEOPLE, n, 0)
        for n in range(last, 500, 10)
        if (person := PEOPLE.person(n)) and not simulated.gone(PEOPLE.post(person, 0))
    )
    (record,) = (await read(http, YouTubeCrawler.fetch_post_by_id(newest))).records
    assert (record.broadcast, record.video_duration, record.ended_at) == (state, None, None)
    assert bool(record.scheduled_at) is (state == "upcoming")
    assert bool(record.concurrent_viewers and record.started_at) is (state == "live")


async def test_a_search_is_paged_and_kept_to_its_bounds(http: ProviderClient) -> None:
    pages = await every_page(http, YouTubeCrawler.fetch_posts_by_search(q="street food", order="relevance"))
    found = [name for page in pages for name in page.listed]
    assert len(found) == len(set(found)) > 100
    videos = (await read(http, YouTubeCrawler.fetch_posts_by_ids(found[:50]))).records
    assert len(videos) == 50
    since, until = (THERE[n][1].taken_at for n in (40, 10))
    spec = YouTubeCrawler.fetch_posts_by_search(
        profile_id=CHANNEL, published_after=iso(since), published_before=iso(until), order="date"
    )
    assert [name for page in await every_page(http, spec) for name in page.listed] == [name for name, _ in THERE[11:41]]


async def test_comments_come_newest_first_with_their_answers(http: ProviderClient) -> None:
    author, post = next(
        (person, post)
        for n in range(500)
        if (person := PEOPLE.person(n))
        for post in PEOPLE.posts(person, 1, 9)
        if post.comments > 250 and not simulated.gone(post) and not simulated.takes_no_comments(post)
    )
    name = simulated.video_id(PEOPLE, author.index, post.ordinal)
    pages = await every_page(http, YouTubeCrawler.fetch_comments_by_post(name))
    comments = [record for page in pages for record in page.records]
    threads = [record for record in comments if record.parent_id is None]
    assert len(threads) == 250
    assert len(pages) == 3
    assert len({record.comment_id for record in comments}) == len(comments) > len(threads)
    assert {record.post_id for record in comments} == {name}
    times = [record.commented_at for record in threads]
    assert times == sorted(times, reverse=True)
    answer = next(record for record in comments if record.parent_id)
    assert answer.profile_id == simulated.channel_id(PEOPLE, author.index)
    assert next(record for record in threads if record.comment_id == answer.parent_id).replies == 7
    assert sum(record.parent_id == answer.parent_id for record in comments) == 5
    (page,) = await every_page(http, YouTubeCrawler.fetch_replies_by_comment(name, answer.parent_id))
    assert len(page.records) == 7
    assert answer in page.records
    gone = YouTubeCrawler.fetch_replies_by_comment(name, "Ugxnobody")
    assert await outcome(http, gone) is Outcome.MISSING


async def test_comments_may_be_off(http: ProviderClient) -> None:
    name = next(name for name, post in THERE if simulated.takes_no_comments(post))
    assert await outcome(http, YouTubeCrawler.fetch_comments_by_post(name)) is Outcome.PRIVATE


async def test_a_cursor_is_worth_nothing_elsewhere_and_bad_parameters_are_refused(http: ProviderClient) -> None:
    uploads = YouTubeCrawler.fetch_posts_by_playlist(UPLOADS)
    cursor = (await read(http, uploads)).next_cursor
    search = YouTubeCrawler.fetch_posts_by_search(q="tea")
    assert await outcome(http, replace(search, cursor=cursor)) is Outcome.REFUSED
    assert await outcome(http, uploads, maxResults="51") is Outcome.BAD_REQUEST
    assert await outcome(http, uploads, part="") is Outcome.BAD_REQUEST
    assert await outcome(http, YouTubeCrawler.fetch_profile_by_id("")) is Outcome.BAD_REQUEST
    assert await outcome(http, search, publishedAfter="yesterday") is Outcome.BAD_REQUEST


async def test_only_the_parts_that_are_asked_for_are_reported(http: ProviderClient) -> None:
    answer = await ask(http, BY["id"], part="statistics")
    (account,) = SOURCE.endpoints["profile_by_id"].parse(answer.body, BY["id"]).records
    assert account.followers
    assert (account.full_name, account.uploads_playlist_id) == (None, None)


async def test_searches_have_a_quota_of_their_own(http: ProviderClient, admin: SimulatorClient) -> None:
    search = YouTubeCrawler.fetch_posts_by_search(q="tea")
    answers = await asyncio.gather(*(ask(http, search) for _ in range(102)))
    assert sorted(answer.status for answer in answers) == [200] * 100 + [429] * 2
    refused = next(answer for answer in answers if answer.status == 429)
    assert SOURCE.classify(refused).outcome is Outcome.QUOTA_EXHAUSTED
    assert await outcome(http, BY["id"]) is Outcome.OK
    assert (await ask(http, search, key="key-2")).status == 200
    assert (await admin.ledger())["by_source"]["ytapi"]["over_limit"] == 2


async def test_units_are_refused_when_they_are_spent(http: ProviderClient, admin: SimulatorClient) -> None:
    await admin.add_credential("ytapi", "key-1", quota=(3, 86_400))
    answers = [await ask(http, BY["id"]) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 403]
    verdict = SOURCE.classify(answers[-1])
    assert (verdict.outcome, verdict.code, verdict.retry_after) == (
        Outcome.QUOTA_EXHAUSTED,
        "403/quotaExceeded",
        None,
    )


SPECS = [
    *BY.values(),
    YouTubeCrawler.fetch_posts_by_playlist(UPLOADS),
    YouTubeCrawler.fetch_posts_by_search(q="tea"),
    YouTubeCrawler.fetch_post_by_id(VIDEO),
    YouTubeCrawler.fetch_posts_by_ids([VIDEO, THERE[4][0]]),
    YouTubeCrawler.fetch_comments_by_post(
        next(name for name, post in THERE if not simulated.takes_no_comments(post) and post.comments > 5)
    ),
]
TOLD = [spec for spec in SPECS if spec.operation not in ("posts_by_playlist", "posts_by_search")]


@pytest.mark.parametrize("fault", [{"kind": "wrong_type"}, {"kind": "corrupt", "body": "negative"}])
@pytest.mark.parametrize("spec", TOLD, ids=lambda spec: spec.operation)
async def test_numbers_that_cannot_be_are_malformed(
    http: ProviderClient, admin: SimulatorClient, spec: FetchSpec, fault: dict[str, Any]
) -> None:
    await admin.add_fault(source="ytapi", **fault)
    assert await outcome(http, spec) is Outcome.MALFORMED


@pytest.mark.parametrize("spec", [BY["id"], BY["handle"], *SPECS[5:7]], ids=lambda spec: spec.operation)
async def test_somebody_elses_answer_is_malformed(
    http: ProviderClient, admin: SimulatorClient, spec: FetchSpec
) -> None:
    await admin.add_fault("wrong_user", "ytapi")
    assert await outcome(http, spec) is Outcome.MALFORMED


async def test_a_key_is_checked_for_a_unit(http: ProviderClient, admin: SimulatorClient) -> None:
    check = SOURCE.check

    async def state(key: str) -> Outcome:
        exchange = await http.exchange(SOURCE, check.build({"key": key}))
        assert exchange.answer is not None
        return check.read(exchange.answer).verdict.outcome

    await admin.add_credential("ytapi", "dead", revoked=True)
    assert [await state(key) for key in ("fine", "dead")] == [Outcome.OK, Outcome.CREDENTIAL_DEAD]
    assert await state("") is not Outcome.OK
    assert (await admin.ledger())["by_source"]["ytapi"]["by_operation"] == {"check": 3}


async def test_a_path_that_is_none_is_no_missing_thing(http: ProviderClient) -> None:
    call = SOURCE.endpoints["profile_by_id"].build(BY["id"], {"key": "key-1"})
    lost = await http.exchange(SOURCE, replace(call, path="/nothing"))
    assert SOURCE.classify(lost.answer).outcome is Outcome.UPSTREAM_DOWN


GRANT = {"client_id": "1-a.apps.example", "client_secret": "GOCSPX-b", "refresh_token": "1//0g-c"}


async def granted(http: ProviderClient, **fields: str) -> Answer:
    exchange = await http.exchange(SOURCE, SOURCE.refresh.build({**GRANT, **fields}))
    assert exchange.answer is not None, exchange.failure
    return exchange.answer


async def test_a_grant_brings_a_token_that_counts_as_the_grant_and_ends_with_it(
    http: ProviderClient, admin: SimulatorClient
) -> None:
    renewed = SOURCE.refresh.read(await granted(http))
    assert (renewed.verdict.outcome, renewed.seconds) == (Outcome.OK, 3599)
    assert renewed.fields != SOURCE.refresh.read(await granted(http)).fields
    spec = YouTubeCrawler.fetch_profile_by_id(CHANNEL)

    async def asked() -> Answer:
        exchange = await http.exchange(
            SOURCE, SOURCE.endpoints["profile_by_id"].build(spec, {**GRANT, **renewed.fields})
        )
        assert exchange.answer is not None, exchange.failure
        return exchange.answer

    answer = await asked()
    assert SOURCE.classify(answer).outcome is Outcome.OK
    assert SOURCE.endpoints["profile_by_id"].parse(answer.body, spec).records[0].profile_id == CHANNEL
    ledger = (await admin.ledger())["by_source"]["ytapi"]
    assert ledger["by_operation"] == {"token": 2, "profile_by_id": 1}
    assert len(ledger["by_credential"]) == 1
    await admin.add_credential("ytapi", GRANT["refresh_token"], revoked=True)
    assert (await asked()).status == 401
    assert SOURCE.classify(await asked()).outcome is Outcome.CREDENTIAL_DEAD
    refused = await granted(http)
    assert (refused.status, SOURCE.refresh.read(refused).verdict.code) == (400, "400/invalid_grant")
    assert (await granted(http, refresh_token="1//another")).status == 200


async def test_tokens_cost_no_units(http: ProviderClient, admin: SimulatorClient) -> None:
    await admin.set_limits(source="ytapi", windows=[(1, 3600)])
    for _ in range(3):
        assert (await granted(http)).status == 200


@pytest.mark.parametrize("kind", ["revoked", "outage", "rate_limit", "html", "truncated"])
async def test_a_refresh_has_its_faults(http: ProviderClient, admin: SimulatorClient, kind: str) -> None:
    await admin.add_fault(kind, "ytapi", operation="token")
    expected = {
        "revoked": Outcome.CREDENTIAL_DEAD,
        "outage": Outcome.UPSTREAM_DOWN,
        "rate_limit": Outcome.RATE_LIMITED,
        "html": Outcome.MALFORMED,
        "truncated": Outcome.MALFORMED,
    }
    assert SOURCE.refresh.read(await granted(http)).verdict.outcome is expected[kind]
