"""Whole runs through the stages, against the simulated provider: what is in the tables, and what it cost."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from beat_actors.broker.turn import turn
from beat_actors.broker.windows import calendar_day
from beat_actors.data import reading
from beat_actors.engine import Engine
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.platforms.youtube import platform
from beat_actors.platforms.youtube.simulator import ids as simulated
from beat_actors.platforms.youtube.simulator.channels import rounded
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.requests.states import Priority
from beat_actors.settings import Settings
from beat_actors.simulator import Population, SimulatorClient, SimulatorConfig, running
from beat_actors.transport.http import ProviderClient
from tests.stages import retrieve
from tests.worlds import MovableClock, engine_with

PEOPLE = Population(300, 1, drift_seconds=0)
PERSON = next(p for n in range(300) if (p := PEOPLE.person(n)) and p.posts > 100 and n % 10 not in (3, 4))
CHANNEL = simulated.channel_id(PEOPLE, PERSON.index)
POSTS = PEOPLE.posts(PERSON, 0, PERSON.posts)
NAMES = {post.ordinal: simulated.video_id(PEOPLE, PERSON.index, post.ordinal) for post in POSTS}
THERE = [post for post in POSTS if not simulated.gone(post)]


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with running(SimulatorConfig(profiles=300, drift_seconds=0)) as url:
        yield url


@pytest.fixture
async def admin(url: str) -> AsyncIterator[SimulatorClient]:
    async with SimulatorClient(url) as client:
        yield client


@pytest.fixture
def noon(database_url: str) -> Iterator[None]:
    """The engine's day is half over in California, when neither yesterday's quota nor the lending of the reserve is near."""
    clock = MovableClock(database_url)
    start, end = calendar_day("America/Los_Angeles", clock.now())
    clock.advance((start + end) / 2 - clock.now())
    yield
    clock.close()


@pytest.fixture
async def engine(settings: Settings, url: str, noon: None) -> AsyncIterator[Engine]:
    settings = settings.model_copy(update={"simulator_url": url})
    engine = engine_with(settings, ProviderClient(settings))
    await engine.credentials.add("ytapi", {"key": "key-1"})
    yield engine
    await engine.close()


async def rows(engine: Engine, sql: str, *params: Any) -> list[Any]:
    async with engine.database.transaction() as transaction:
        return [tuple(row) for row in await transaction.rows(sql, params)]


async def stages(engine: Engine) -> None:
    """One round through all stages."""
    retrieved = await retrieve(engine, (await turn(engine.database, platform)).leased)
    await process(engine, (await ingest(engine, retrieved.next)).next)


async def run(engine: Engine, *wanted: NewRequest) -> list[str]:
    """These requests from their acceptance to their end; how each ended."""
    accepted = [one.id for one in await intake.accept(engine.database, wanted)]
    for _ in range(20):
        await stages(engine)
        found = await rows(
            engine, "SELECT status FROM scrape_request_log WHERE id = ANY(%s) ORDER BY array_position(%s::bigint[], id)", accepted, accepted
        )  # fmt: skip
        if not {status for (status,) in found} & {"PENDING", "PROCESSING"}:
            return [status for (status,) in found]
    raise AssertionError(f"not done: {found}")


def request(flow: str, **params: Any) -> NewRequest:
    return NewRequest("youtube", flow, params, Priority.CUSTOMER)


async def calls(admin: SimulatorClient) -> dict[str, int]:
    """By the API's method: a call cannot be told from another that asks for as many videos."""
    told = (await admin.ledger())["by_source"]["ytapi"]["by_operation"]
    by_method = {name: n for name, n in told.items() if name not in ("post_by_id", "posts_by_ids")}
    videos = told.get("post_by_id", 0) + told.get("posts_by_ids", 0)
    return by_method | ({"videos": videos} if videos else {})


async def charged(engine: Engine) -> dict[str, int]:
    """What the engine counted in the key's windows; a turn takes in what was settled last."""
    await turn(engine.database, platform)
    found = await rows(
        engine,
        "SELECT limit_name, CASE limit_name WHEN 'total' THEN calls ELSE counts[1] END::int FROM credential_usage",
    )
    return dict(found)


async def test_a_channels_posts_cost_a_call_for_each_fifty(engine: Engine, admin: SimulatorClient) -> None:
    assert await run(engine, request("refresh_posts_by_channel", profile_id=CHANNEL, limit=20_000)) == ["COMPLETE"]
    pages = -(-PERSON.posts // 50)
    spent = await calls(admin)
    assert spent == {"profile_by_id": 1, "posts_by_playlist": pages, "videos": pages}
    assert await charged(engine) == {"units": 1 + 2 * pages, "total": 1 + 2 * pages}
    kept = await rows(engine, "SELECT post_id, views IS NOT NULL FROM youtube_post ORDER BY 1")
    gone = {NAMES[post.ordinal] for post in POSTS if simulated.gone(post)}
    assert dict(kept) == {name: name not in gone for name in NAMES.values()}
    assert set(await rows(engine, "SELECT post_id, privacy_status FROM youtube_post WHERE views IS NULL")) == {
        (NAMES[post.ordinal], "private" if how == simulated.PRIVATE else "deleted")
        for post in POSTS
        if (how := simulated.gone(post))
    }
    ((account,),) = await rows(engine, "SELECT uploads_playlist_id FROM youtube_account WHERE profile_id = %s", CHANNEL)
    assert account == "UU" + CHANNEL[2:]


async def test_s10_9_a_channel_appears_where_every_profile_does(engine: Engine) -> None:
    await run(engine, request("refresh_profile_by_handle", handle=f"@{PERSON.handle}", posts=10))
    async with engine.database.transaction() as transaction:
        profile = await reading.find(transaction, platform, platform.entity_named("profiles"), f"@{PERSON.handle}")
        posts, listed = reading.lists_under(platform, "profiles")["posts"]
        page = await reading.items(transaction, platform, posts, listed, CHANNEL, limit=20)
    assert profile is not None
    assert profile.fields["followers"] == rounded(PERSON.followers)
    assert [item.fields["post_id"] for item in page.items] == [NAMES[post.ordinal] for post in THERE[:10]]
    logged = await rows(engine, "SELECT profile_id, (metrics->>'views')::int FROM profile_log")
    assert logged == [(CHANNEL, PERSON.followers * 90)]
    assert await rows(engine, "SELECT count(*) FROM post_log WHERE metrics ? 'views'") == [(10,)]
    due = await rows(engine, "SELECT entity, count(*) FROM asset_log GROUP BY 1 ORDER BY 1")
    assert due == [("youtube_account", 1), ("youtube_post", 10)]


async def test_many_requests_share_calls_of_fifty(engine: Engine, admin: SimulatorClient) -> None:
    people = [person for n in range(120) if (person := PEOPLE.person(n))]
    wanted = [request("refresh_profile_by_id", profile_id=simulated.channel_id(PEOPLE, p.index)) for p in people]
    nobody = request("refresh_profile_by_id", profile_id="UC" + "x" * 22)
    videos = [request("refresh_post_by_id", post_id=NAMES[post.ordinal]) for post in THERE[:60]]
    ended = await run(engine, *wanted, nobody, *videos)
    assert ended == ["COMPLETE"] * len(wanted) + ["FAILED"] + ["COMPLETE"] * 60
    spent = await calls(admin)
    assert spent == {"profile_by_id": -(-(len(wanted) + 1) // 50), "videos": 2}
    assert (await charged(engine))["units"] == sum(spent.values())
    assert await rows(engine, "SELECT count(*) FROM trace_log") == [(sum(spent.values()),)]
    assert await rows(engine, "SELECT count(*) FROM youtube_account") == [(len(wanted),)]
    assert await rows(engine, "SELECT count(*) FROM youtube_post WHERE description IS NOT NULL") == [(60,)]


async def test_comments_are_kept_with_their_answers(engine: Engine) -> None:
    post = max((p for p in THERE if not simulated.takes_no_comments(p)), key=lambda p: p.comments)
    name = NAMES[post.ordinal]
    assert await run(engine, request("refresh_post_comments", post_id=name, limit=20_000)) == ["COMPLETE"]
    ((threads, answers, of),) = await rows(
        engine,
        "SELECT count(*) FILTER (WHERE parent_id IS NULL), count(parent_id) AS answers, count(DISTINCT post_id) AS of FROM youtube_comment",
    )
    assert (threads, of) == (min(post.comments, 250, 150), 1)
    # Five answers come along with each thread that has any; the rest is asked for by its comment.
    assert answers == 5 * sum(1 for n in range(threads) if n % 4 == 1)
    ((answered, known),) = await rows(
        engine,
        "SELECT parent_id, count(*) FROM youtube_comment WHERE parent_id IS NOT NULL GROUP BY 1 ORDER BY 1 LIMIT 1",
    )
    assert known == 5
    assert await run(engine, request("refresh_comment_replies", post_id=name, comment_id=answered)) == ["COMPLETE"]
    assert await rows(engine, "SELECT count(*) FROM youtube_comment WHERE parent_id = %s", answered) == [(7,)]


async def test_comments_that_are_off_end_the_request_and_leave_the_key_alone(engine: Engine) -> None:
    name = NAMES[next(post.ordinal for post in THERE if simulated.takes_no_comments(post))]
    assert await run(engine, request("refresh_post_comments", post_id=name)) == ["FAILED"]
    ((error,),) = await rows(engine, "SELECT data->'error' FROM scrape_request_log")
    assert (error["code"], "commentsDisabled" in error["message"], "(HTTP 403)" in error["message"]) == (
        "private",
        False,
        True,
    )
    ((state, ladder, denied),) = await rows(engine, "SELECT disabled_till, ladder, denied FROM credential")
    assert (state, ladder, denied) == (None, 0, [])


async def test_a_search_brings_the_videos(engine: Engine, admin: SimulatorClient) -> None:
    assert await run(engine, request("search_posts", q="street food", limit=60)) == ["COMPLETE"]
    assert await calls(admin) == {"posts_by_search": 2, "videos": 2}
    assert await charged(engine) == {"searches": 2, "units": 2, "total": 4}
    assert await rows(engine, "SELECT count(*) FROM youtube_post WHERE views IS NOT NULL") == [(60,)]


async def test_s9_8_spent_searches_wait_for_midnight_pacific_and_channels_do_not(
    engine: Engine, admin: SimulatorClient
) -> None:
    """Somebody else used the key: the windows have room, and YouTube refuses."""
    await admin.add_fault("quota", "ytapi", operation="posts_by_search")
    (search,) = await intake.accept(engine.database, [request("search_posts", q="tea")])
    for _ in range(3):
        await stages(engine)
    assert await calls(admin) == {"posts_by_search": 1}
    ((now, until, reasons),) = await rows(
        engine,
        "SELECT extract(epoch FROM clock_timestamp())::float8 AS now, extract(epoch FROM blocked_until)::float8, reasons FROM lane WHERE reasons IS NOT NULL",
    )
    assert until == calendar_day("America/Los_Angeles", now)[1]
    assert [reason["why"] for reason in reasons] == ["limit searches is used up"]
    assert await run(engine, request("refresh_profile_by_id", profile_id=CHANNEL)) == ["COMPLETE"]
    assert await rows(engine, "SELECT status FROM scrape_request_log WHERE id = %s", search.id) == [("PROCESSING",)]
    assert await rows(engine, "SELECT kind FROM credential_event ORDER BY id") == [("added",), ("quota_exhausted",)]


async def test_p4_the_simulated_provider_never_sees_more_searches_than_there_are(
    engine: Engine, admin: SimulatorClient
) -> None:
    wanted = [request("search_posts", q=f"word {n}", limit=1) for n in range(103)]
    await intake.accept(engine.database, wanted)
    for _ in range(6):
        await stages(engine)
    spent = (await admin.ledger())["by_source"]["ytapi"]
    assert (spent["by_operation"]["posts_by_search"], spent["over_limit"]) == (100, 0)
    assert (await charged(engine))["searches"] == 100
    ended = await rows(engine, "SELECT status, count(*) FROM scrape_request_log GROUP BY 1 ORDER BY 1")
    assert ended == [("COMPLETE", 100), ("PENDING", 3)]


async def test_s9_12_the_last_tenth_of_the_searches_is_kept_for_customers(
    engine: Engine, admin: SimulatorClient
) -> None:
    wanted = [NewRequest("youtube", "search_posts", {"q": f"word {n}", "limit": 1}, Priority.BATCH) for n in range(95)]
    await intake.accept(engine.database, wanted)
    for _ in range(4):
        await stages(engine)
    assert (await calls(admin))["posts_by_search"] == 90
    assert await run(engine, request("search_posts", q="tea", limit=1)) == ["COMPLETE"]


async def test_a_revoked_key_is_out_and_the_next_one_serves(engine: Engine, admin: SimulatorClient) -> None:
    await admin.add_credential("ytapi", "key-1", revoked=True)
    (waiting,) = await intake.accept(engine.database, [request("refresh_profile_by_id", profile_id=CHANNEL)])
    for _ in range(2):
        await stages(engine)
    assert await rows(engine, "SELECT dead_at IS NOT NULL FROM credential") == [(True,)]
    await engine.credentials.add("ytapi", {"key": "key-2"})
    for _ in range(2):
        await stages(engine)
    assert await rows(engine, "SELECT status FROM scrape_request_log WHERE id = %s", waiting.id) == [("COMPLETE",)]
