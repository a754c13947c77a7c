"""Whole runs through the stages, against the simulated providers: what is in the tables when a request has ended, and who answered."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from beat_actors.broker.turn import turn
from beat_actors.data import reading
from beat_actors.engine import Engine
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.platforms.tiktok import platform
from beat_actors.platforms.tiktok.simulator import plays
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from beat_actors.simulator import Population, SimulatorClient, SimulatorConfig, running
from beat_actors.transport.http import ProviderClient
from tests.stages import retrieve
from tests.worlds import engine_with

PEOPLE = Population(200, 1, drift_seconds=0)
PERSON = next(
    person for index in range(200) if (person := PEOPLE.person(index)) and person.posts > 70 and not person.is_private
)
PK = str(PERSON.pk)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with running(SimulatorConfig(profiles=200, drift_seconds=0)) as url:
        yield url


@pytest.fixture
async def admin(url: str) -> AsyncIterator[SimulatorClient]:
    async with SimulatorClient(url) as client:
        yield client


@pytest.fixture
async def engine(settings: Settings, url: str) -> AsyncIterator[Engine]:
    settings = settings.model_copy(update={"simulator_url": url})
    engine = engine_with(settings, ProviderClient(settings))
    # As many keys as a run has calls: the limit of one is a call a second.
    for n in range(6):
        for source in platform.sources:
            await engine.credentials.add(source, {"key": f"key-{n}"})
    yield engine
    await engine.close()


async def rows(engine: Engine, sql: str, *params: Any) -> list[Any]:
    async with engine.database.transaction() as transaction:
        return [tuple(row) for row in await transaction.rows(sql, params)]


async def round_of(engine: Engine) -> int:
    """One round through all stages; how many fetches were leased."""
    leased = (await turn(engine.database, platform)).leased
    await process(engine, (await ingest(engine, (await retrieve(engine, leased)).next)).next)
    return len(leased)


async def run(engine: Engine, flow: str, **params: Any) -> tuple[str, int]:
    """A request from its acceptance to its end: its status and its items."""
    (accepted,) = await intake.accept(engine.database, [NewRequest("tiktok", flow, params)])
    for _ in range(
        60
    ):  # on a slow machine a source whose breaker is open comes back in between, is asked again, and is left out for longer
        await round_of(engine)
        ((status, items),) = await rows(
            engine, "SELECT status, items FROM scrape_request_log WHERE id = %s", accepted.id
        )
        if status not in ("PENDING", "PROCESSING"):
            return status, items
    raise AssertionError(f"{flow} is still {status}")


async def test_s10_2_a_profile_and_its_posts_go_through_the_three_stages(engine: Engine) -> None:
    assert await run(engine, "refresh_tiktok_profiles", handle=f"@{PERSON.handle.upper()}", posts=60) == (
        "COMPLETE",
        61,
    )
    kept = await rows(engine, "SELECT profile_id, handle, followers, media_count, source FROM tiktok_account")
    assert kept == [(PK, PERSON.handle, PERSON.followers, PERSON.posts, "tikwm")]
    posts = await rows(
        engine, "SELECT post_id, likes, views FROM tiktok_post WHERE profile_id = %s ORDER BY taken_at DESC", PK
    )
    assert posts == [(str(post.pk), post.likes, plays(post)) for post in PEOPLE.posts(PERSON, 0, 60)]
    pages = await rows(
        engine,
        "SELECT page, cursor IS NULL, cursor_source FROM scrape_fetch WHERE operation = 'posts_by_id' ORDER BY page",
    )
    assert pages == [(1, True, None), (2, False, "tikwm")]


async def test_s10_9_its_rows_appear_in_what_all_platforms_share(engine: Engine) -> None:
    await run(engine, "refresh_tiktok_profiles", handle=PERSON.handle)
    logged = await rows(
        engine,
        "SELECT platform, profile_id, source, (metrics->>'followers')::bigint, dimensions->>'handle' FROM profile_log",
    )
    assert logged == [("tiktok", PK, "tikwm", PERSON.followers, PERSON.handle)]
    assert await rows(
        engine, "SELECT platform, count(*) AS n, count(DISTINCT post_id) AS posts FROM post_log GROUP BY 1"
    ) == [("tiktok", 30, 30)]
    # Signed URLs are current state, and no observation.
    assert await rows(
        engine, "SELECT count(*) FROM post_log WHERE dimensions ? 'thumbnail_url' OR dimensions ? 'media_url'"
    ) == [(0,)]
    due = await rows(
        engine, "SELECT entity, field, count(*) FROM asset_log WHERE platform = 'tiktok' GROUP BY 1, 2 ORDER BY 1"
    )
    assert due == [("tiktok_account", "profile_pic_url", 1), ("tiktok_post", "thumbnail_url", 30)]
    async with engine.database.transaction() as transaction:
        profile = await reading.find(transaction, platform, platform.entity_named("profiles"), PERSON.handle)
        posts, listed = reading.lists_under(platform, "profiles")["posts"]
        page = await reading.items(transaction, platform, posts, listed, PK, limit=3)
    assert profile is not None
    assert profile.fields["followers"] == PERSON.followers
    assert [item.fields["post_id"] for item in page.items] == [str(post.pk) for post in PEOPLE.posts(PERSON, 0, 3)]


async def test_s10_9_a_second_run_observes_again_and_duplicates_nothing(engine: Engine) -> None:
    for _ in range(2):
        assert await run(engine, "refresh_tiktok_profiles", handle=PERSON.handle, posts=0) == ("COMPLETE", 1)
    assert await rows(engine, "SELECT count(*) FROM tiktok_account") == [(1,)]
    assert await rows(engine, "SELECT count(*) FROM profile_log WHERE profile_id = %s", PK) == [(2,)]
    assert await rows(engine, "SELECT count(*) FROM asset_log WHERE platform = 'tiktok'") == [(1,)]


@pytest.mark.parametrize("kind", ["outage", "missing_key", "html", "rate_limit", "revoked"])
async def test_s10_2_the_next_source_answers_where_the_first_does_not(
    engine: Engine, admin: SimulatorClient, kind: str
) -> None:
    await admin.add_fault(kind, "tikwm")
    assert await run(engine, "refresh_tiktok_profiles", handle=PERSON.handle, posts=10) == ("COMPLETE", 31)
    assert await rows(engine, "SELECT source, followers FROM tiktok_account") == [("api23", PERSON.followers)]
    assert await rows(engine, "SELECT source, count(*) FROM tiktok_post GROUP BY 1") == [("api23", 30)]
    assert (await admin.ledger())["by_source"]["tikwm"]["calls"] >= 2


async def test_a_page_stays_with_the_source_that_gave_its_cursor(engine: Engine, admin: SimulatorClient) -> None:
    await admin.add_fault("outage", "tikwm", operation="posts_by_id", times=1)
    assert await run(engine, "refresh_tiktok_profiles", handle=PERSON.handle, posts=60) == ("COMPLETE", 61)
    found = await rows(engine, "SELECT DISTINCT source FROM tiktok_post")
    assert found == [("api23",)]
    pinned = await rows(engine, "SELECT cursor_source FROM scrape_fetch WHERE page = 2")
    assert pinned == [("api23",)]


@pytest.mark.parametrize(("index", "ended"), [(97, ("FAILED", 0)), (98, ("COMPLETE", 1))])
async def test_nobody_ends_at_once_and_the_private_are_asked_for_no_posts(
    engine: Engine, admin: SimulatorClient, index: int, ended: tuple[str, int]
) -> None:
    assert await run(engine, "refresh_tiktok_profiles", handle=PEOPLE.handle(index)) == ended
    assert (await admin.ledger())["calls"] == 1
    assert await rows(engine, "SELECT is_private FROM tiktok_account") == [(True,)] * ended[1]


async def test_a_post_and_its_comments_are_kept(engine: Engine) -> None:
    post = PEOPLE.post(PERSON, 3)
    assert await run(engine, "refresh_tiktok_post", post_id=str(post.pk)) == ("COMPLETE", 1)
    assert await rows(engine, "SELECT post_id, profile_id, likes FROM tiktok_post") == [(str(post.pk), PK, post.likes)]
    status, items = await run(engine, "refresh_tiktok_comments", post_id=str(post.pk))
    ((kept, of),) = await rows(engine, "SELECT count(*) AS n, count(DISTINCT post_id) AS posts FROM tiktok_comment")
    assert (status, kept, of) == ("COMPLETE", items, 1)
    assert kept >= min(post.comments, 50)


async def test_s10_6_a_keys_limits_are_kept_by_the_broker(settings: Settings, url: str, admin: SimulatorClient) -> None:
    settings = settings.model_copy(update={"simulator_url": url})
    engine = engine_with(settings, ProviderClient(settings))
    await engine.credentials.add("tikwm", {"key": "one"})
    wanted = [
        NewRequest("tiktok", "refresh_tiktok_profiles", {"handle": PEOPLE.handle(n), "posts": 0}) for n in range(5)
    ]
    await intake.accept(engine.database, wanted)
    assert await round_of(engine) == 1
    assert await round_of(engine) == 0
    ledger = await admin.ledger()
    assert (ledger["calls"], ledger["over_limit"]) == (1, 0)
    ((reasons,),) = await rows(
        engine, "SELECT reasons::text FROM lane WHERE platform = 'tiktok' AND reasons IS NOT NULL"
    )
    assert "tikwm" in reasons
    await engine.close()
