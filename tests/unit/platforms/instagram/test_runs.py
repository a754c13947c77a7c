"""Whole runs through the stages, against the simulated providers: what is in the tables when a request has ended."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any, cast

import pytest

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.platforms.instagram import platform
from beat_actors.platforms.instagram.crawler import InstagramCrawler
from beat_actors.platforms.instagram.flows import more_posts
from beat_actors.platforms.interface import Answer, FetchSpec, Flow
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from beat_actors.simulator import Population, SimulatorClient, SimulatorConfig, running
from beat_actors.simulator.shapes import relations
from beat_actors.simulator.shapes.graph_media import media_id
from beat_actors.transport.http import Exchange, ProviderClient
from tests.stages import retrieve
from tests.worlds import MovableClock, engine_with

PEOPLE = Population(200, 1, drift_seconds=0)
PERSON = next(
    person
    for index in range(200)
    if (person := PEOPLE.person(index)) and not person.is_private and len(relations.stories(PEOPLE, person)) > 1
)
SOMEBODY_ELSE = PEOPLE.person(PERSON.index + 1)
POST = PEOPLE.post(PERSON, 0)
CAROUSEL = next(post for post in PEOPLE.posts(PERSON, 0, PERSON.posts) if post.kind == 8)
STORIES = relations.stories(PEOPLE, PERSON)
PK, USER = str(PERSON.pk), str(PERSON.fbid)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with running(SimulatorConfig(profiles=200, seed=1, drift_seconds=0)) as url:
        yield url


@pytest.fixture
async def admin(url: str) -> AsyncIterator[SimulatorClient]:
    async with SimulatorClient(url) as client:
        await client.set_limits(enabled=False)
        yield client


@pytest.fixture
def clock(database_url: str) -> Iterator[MovableClock]:
    clock = MovableClock(database_url)
    yield clock
    clock.close()


@pytest.fixture
async def engine(settings: Settings, url: str, admin: SimulatorClient) -> AsyncIterator[Engine]:
    del admin
    settings = settings.model_copy(update={"simulator_url": url})
    engine = engine_with(settings, ProviderClient(settings))
    for n, source in enumerate(("arraybobo", "jotucker", "lama")):
        await engine.credentials.add(source, {"key": f"key-{n}-a81f3c2e7d"})
    for name, person in (("own", PERSON), ("other", SOMEBODY_ELSE)):
        await engine.credentials.add("graphapi", {"token": f"token-{name}", "user_id": str(person.fbid)})
    yield engine
    await engine.close()


async def rows(engine: Engine, sql: str, *params: Any) -> list[Any]:
    async with engine.database.transaction() as transaction:
        return [tuple(row) for row in await transaction.rows(sql, params)]


async def run(engine: Engine, flow: str, clock: MovableClock | None = None, **params: Any) -> tuple[str, int]:
    """A request from its acceptance to its end; the calls that were made of each credential may be read afterwards."""
    (accepted,) = await intake.accept(engine.database, [NewRequest("instagram", flow, params)])
    for _ in range(20):
        retrieved = await retrieve(engine, (await turn(engine.database, platform)).leased)
        await process(engine, (await ingest(engine, retrieved.next)).next)
        ((status, items),) = await rows(
            engine, "SELECT status, items FROM scrape_request_log WHERE id = %s", accepted.id
        )
        if status not in ("PENDING", "PROCESSING"):
            return status, items
        if clock is not None:
            clock.advance(30)
    raise AssertionError(f"{flow} is still {status}")


async def count(engine: Engine, table: str) -> int:
    ((found,),) = await rows(engine, f"SELECT count(*) FROM {table}")
    return found


async def test_a_post_is_kept(engine: Engine) -> None:
    assert await run(engine, "refresh_post_by_shortcode", shortcode=POST.shortcode) == ("COMPLETE", 1)
    assert await rows(engine, "SELECT shortcode, profile_id, likes FROM instagram_post") == [
        (POST.shortcode, PK, POST.likes)
    ]


async def test_stories_are_the_same_by_their_owner_and_by_anybody_and_kept_apart(engine: Engine) -> None:
    assert await run(engine, "refresh_stories_posts", profile_id=PK) == ("COMPLETE", len(STORIES))
    assert await run(engine, "refresh_own_stories", user_id=USER) == ("COMPLETE", len(STORIES))
    kept = "SELECT story_id, graph_id, profile_id FROM instagram_story WHERE owner = %s ORDER BY taken_at DESC"
    assert await rows(engine, kept, USER) == [(str(story.pk), media_id(PERSON, story), None) for story in STORIES]
    assert await rows(engine, kept, "") == [(str(story.pk), None, PK) for story in STORIES]
    assert await rows(engine, "SELECT DISTINCT post_id FROM post_log ORDER BY 1") == sorted(
        (str(story.pk),) for story in STORIES
    )


async def test_an_account_is_asked_nine_times_for_its_insights_with_its_own_token_alone(
    engine: Engine, admin: SimulatorClient
) -> None:
    assert (await run(engine, "refresh_profile_insights", user_id=USER))[0] == "COMPLETE"
    assert (await admin.ledger())["calls"] == 9
    used = await rows(
        engine,
        "SELECT DISTINCT c.owner FROM trace_log t JOIN credential c ON c.id = t.credential_id",
    )
    assert used == [(USER,)]
    told = await rows(
        engine,
        "SELECT metric, breakdown FROM instagram_profile_insight WHERE profile_id = %s GROUP BY 1, 2",
        USER,
    )
    assert len(told) == 9
    logged = await rows(engine, "SELECT count(*) FROM profile_log WHERE profile_id = %s AND metrics ? 'value'", USER)
    assert logged == [(await count(engine, "instagram_profile_insight"),)]


@pytest.mark.parametrize("nth", [0, 4])
async def test_a_refused_metric_of_the_insights_does_not_fail_the_other_eight(
    clock: MovableClock, engine: Engine, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    """Also where it is the first that is asked."""
    refused = InstagramCrawler.fetch_profile_insights(USER)[nth].params
    exchange = engine.client.exchange

    async def refuse(source: Any, call: Any) -> Exchange:
        found = await exchange(source, call)
        if (call.query.get("metric"), call.query.get("breakdown")) != (refused["metric"], refused["breakdown"]):
            return found
        body = b'{"error": {"message": "(#100) The timeframe is no longer supported", "type": "OAuthException", "code": 100}}'
        return replace(found, answer=Answer(400, {}, body))

    monkeypatch.setattr(engine.client, "exchange", refuse)
    status, _ = await run(engine, "refresh_profile_insights", clock, user_id=USER)
    assert status == "COMPLETE"
    assert await rows(engine, "SELECT data->'partial'->>'code' FROM scrape_request_log") == [("refused",)]
    assert await rows(engine, "SELECT stage, count(*) FROM scrape_fetch GROUP BY 1 ORDER BY 1") == [
        ("DONE", 8),
        ("FAILED", 1),
    ]


@pytest.mark.parametrize(
    ("media_type", "medium", "metrics"),
    [
        ("image", POST, {"views", "reach", "likes", "comments", "saved", "shares", "total_interactions"}),
        ("story", STORIES[0], {"views", "replies", "navigation"}),
    ],
    ids=["image", "story"],
)
async def test_the_insights_of_a_post_or_story_are_kept(
    engine: Engine, media_type: str, medium: Any, metrics: set[str]
) -> None:
    wanted = media_id(PERSON, medium)
    params = {"media_id": f"{wanted}_{USER}", "user_id": USER, "media_type": media_type}
    assert (await run(engine, "refresh_post_insights", **params))[0] == "COMPLETE"
    told = {metric for (metric,) in await rows(engine, "SELECT metric FROM instagram_post_insight")}
    assert metrics <= told
    assert await rows(engine, "SELECT DISTINCT post_id FROM post_log") == [(wanted,)]


@pytest.mark.parametrize(
    ("flow", "params", "table", "page"),
    [
        ("refresh_tagged_posts", {"profile_id": PK}, "instagram_post", 12),
        ("refresh_followers", {"profile_id": PK}, "instagram_follow", 50),
        ("refresh_following", {"profile_id": PK}, "instagram_follow", 50),
        ("refresh_hashtag_posts", {"hashtag": "#Recipes"}, "instagram_post", 50),
        ("refresh_own_posts", {"user_id": USER}, "instagram_post", 50),
        ("refresh_own_tagged_posts", {"user_id": USER}, "instagram_post", 50),
    ],
)
async def test_pages_follow_until_there_are_enough(
    engine: Engine, flow: str, params: dict[str, Any], table: str, page: int
) -> None:
    status, first = await run(engine, flow, **params, limit=1)
    assert status == "COMPLETE"
    assert 0 < first <= page
    assert await count(engine, table) == first
    status, more = await run(engine, flow, **params, limit=first + 1)
    assert status == "COMPLETE"
    assert await count(engine, table) == more
    assert more >= first


async def test_reels_are_all_that_there_are(engine: Engine) -> None:
    films = [post for post in PEOPLE.posts(PERSON, 0, PERSON.posts) if post.kind == 2]
    assert await run(engine, "refresh_reels", profile_id=PK, limit=1000) == ("COMPLETE", len(films))
    assert await rows(engine, "SELECT count(*) FROM instagram_post WHERE post_type = 'reels'") == [(len(films),)]


async def test_comments_by_shortcode_and_by_id_are_the_same_comments_and_kept_apart(engine: Engine) -> None:
    status, items = await run(engine, "refresh_comments", shortcode=POST.shortcode)
    assert (status, await count(engine, "instagram_comment")) == ("COMPLETE", items)
    wanted = media_id(PERSON, POST)
    assert await run(engine, "refresh_own_comments", media_id=wanted, user_id=USER) == ("COMPLETE", items)
    assert await rows(
        engine, "SELECT owner, shortcode, post_id, count(*) FROM instagram_comment GROUP BY 1, 2, 3 ORDER BY 1"
    ) == [
        ("", POST.shortcode, None, items),
        (USER, None, wanted, items),
    ]
    assert await rows(engine, "SELECT count(DISTINCT comment_id) FROM instagram_comment") == [(items,)]


async def test_an_own_account_is_read_with_its_posts(engine: Engine) -> None:
    assert await run(engine, "refresh_own_profile", user_id=USER, posts=PERSON.posts) == ("COMPLETE", PERSON.posts + 1)
    assert await rows(engine, "SELECT profile_id, graph_id FROM instagram_account") == [(PK, USER)]
    assert await count(engine, "instagram_post") == PERSON.posts


async def test_an_own_carousel_is_read_with_its_children_and_a_story_alone(engine: Engine) -> None:
    carousel = media_id(PERSON, CAROUSEL)
    found = await run(engine, "refresh_own_post", media_id=carousel, user_id=USER)
    assert found == ("COMPLETE", 1 + CAROUSEL.children)
    assert await rows(engine, "SELECT count(*) FROM instagram_post WHERE carousel_id = %s", carousel) == [
        (CAROUSEL.children,)
    ]
    wanted = media_id(PERSON, STORIES[0])
    assert await run(engine, "refresh_own_story", media_id=wanted, user_id=USER) == ("COMPLETE", 1)


async def test_the_next_source_answers_where_the_first_is_down(engine: Engine, admin: SimulatorClient) -> None:
    for operation in ("stories_by_id", "post_by_shortcode"):
        await admin.add_fault("outage", "arraybobo", operation=operation)
    assert await run(engine, "refresh_stories_posts", profile_id=PK) == ("COMPLETE", len(STORIES))
    assert await run(engine, "refresh_post_by_shortcode", shortcode=POST.shortcode) == ("COMPLETE", 1)
    assert await rows(engine, "SELECT DISTINCT source FROM instagram_story") == [("lama",)]
    assert await rows(engine, "SELECT DISTINCT source FROM instagram_post") == [("jotucker",)]


MANY = next(
    person for index in range(200) if (person := PEOPLE.person(index)) and not person.is_private and person.posts > 80
)


@pytest.mark.parametrize("fault", ["html", "missing_key", "outage"])
async def test_s1_6_the_next_source_lists_anew_what_fails_while_a_listing_is_paged(
    clock: MovableClock, engine: Engine, admin: SimulatorClient, fault: str
) -> None:
    """The profile and its first posts came from the Graph API, whose cursor is worth nothing elsewhere."""
    await admin.add_fault(fault, "graphapi", operation="posts_by_handle")
    status, items = await run(engine, "refresh_profile_by_handle", clock, handle=MANY.handle, posts=60)
    kept = [code for (code,) in await rows(engine, "SELECT shortcode FROM instagram_post ORDER BY taken_at DESC")]
    assert status == "COMPLETE"
    assert len(kept) >= 60
    assert kept == [post.shortcode for post in PEOPLE.posts(MANY, 0, len(kept))]
    assert items == 1 + 12 + len(kept)  # the first twelve were read twice, and are kept once
    assert await rows(
        engine, "SELECT source, operation, cursor_source FROM scrape_fetch ORDER BY page, id LIMIT 2"
    ) == [
        ("graphapi", "profile_by_handle", None),
        ("jotucker", "posts_by_id", None),
    ]
    # Whoever gave a cursor was asked with it.
    paged = await rows(engine, "SELECT DISTINCT source, cursor_source FROM scrape_fetch WHERE cursor IS NOT NULL")
    assert paged == [("jotucker", "jotucker")]
    twice = "SELECT fetch_id, shortcode FROM post_log GROUP BY 1, 2 HAVING count(*) > 1"
    assert not await rows(engine, twice.replace("shortcode", "post_id"))


async def test_s1_6_who_has_no_id_but_the_graph_apis_is_listed_by_the_handle_while_a_listing_is_paged(
    clock: MovableClock, engine: Engine, admin: SimulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await admin.add_fault("html", "graphapi", operation="posts_by_handle")
    params = {"handle": MANY.handle, "profile_id": f"graph:{MANY.fbid}", "listed": 12}
    lost = FetchSpec("posts_by_handle", params, "lost", "graphapi", 2)
    flow = replace(platform.flows["refresh_profile_basic"], first=lambda _: lost, follow_ups=more_posts)
    monkeypatch.setitem(cast("dict[str, Flow]", platform.flows), flow.name, flow)
    status, _ = await run(engine, flow.name, clock, handle=MANY.handle)
    assert status == "COMPLETE"
    assert await rows(engine, "SELECT DISTINCT source, profile_id FROM instagram_post") == [("arraybobo", str(MANY.pk))]


async def test_an_account_that_the_graph_api_does_not_see_is_looked_for_elsewhere(engine: Engine) -> None:
    assert await run(engine, "refresh_profile_basic", handle="nobody.is.here") == ("FAILED", 0)
    traced = await rows(engine, "SELECT source, outcome FROM trace_log ORDER BY at")
    assert traced == [("graphapi", "unseen"), ("arraybobo", "missing")]
    ((error,),) = await rows(engine, "SELECT data->'error'->>'code' FROM scrape_request_log")
    assert error == "missing"


async def test_an_account_gives_its_owner_a_number_for_each_day(engine: Engine) -> None:
    bounds = {"since": "2026-06-01T00:00:00Z", "until": "2026-06-08T00:00:00Z"}
    assert await run(engine, "refresh_profile_insights_daily", user_id=USER, **bounds) == ("COMPLETE", 7)
    kept = "SELECT metric, period, ends_at::date::text, owner FROM instagram_profile_insight ORDER BY ends_at"
    assert await rows(engine, kept) == [("reach", "day", f"2026-06-0{day}", USER) for day in range(1, 8)]
    # Days that were told before stay one row each.
    assert await run(engine, "refresh_profile_insights_daily", user_id=USER, **bounds) == ("COMPLETE", 7)
    assert await rows(engine, "SELECT count(*) FROM instagram_profile_insight") == [(7,)]
    assert (await run(engine, "refresh_profile_insights_daily", user_id=USER, metric="follower_count"))[0] == "COMPLETE"
