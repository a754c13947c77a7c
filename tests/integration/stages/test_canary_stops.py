"""A next parser whose records are wrong stops itself in every process, and one that reads well goes on."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from beat_actors.broker import sources
from beat_actors.engine import Engine
from beat_actors.errors import StorageUnavailable
from beat_actors.holds import canaries, cohorts
from beat_actors.parsers.versions import versions
from beat_actors.platforms.instagram import InstagramAccount, platform
from beat_actors.platforms.interface import FetchSpec, NextParser, Parsed
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.restoring.blast import blast
from beat_actors.restoring.selection import Selection
from beat_actors.settings import Settings
from beat_actors.simulator import SimulatorClient
from beat_actors.transport.http import ProviderClient
from beat_actors.watch.by_hand import FORGOTTEN, stopped_by_hand
from beat_actors.watch.held import distrusted
from tests.integration.restoring.test_restore import restored
from tests.integration.stages.test_gate import CHAIN, FLOW, go_on, only
from tests.observing import rows
from tests.worlds import engine_with

SOURCE, OPERATION, SHARE = "lama", "profile_by_handle", 0.7
HANDLES = [f"creator_{number:06}" for number in range(1, 31)]
OLD = platform.sources[SOURCE].endpoints[OPERATION]
NEXT = OLD.version + 1
KEY = cohorts.Key("instagram", SOURCE, OPERATION, NEXT)
SAID = {"actor": "ann", "reason": "its numbers were right"}
PROFILES = "SELECT handle, followers, biography FROM instagram_account ORDER BY handle"
READ = "SELECT parser_version, count(*) AS n FROM scrape_fetch WHERE operation = 'profile_by_handle' AND id > %s AND parser_version > 0 GROUP BY 1 ORDER BY 1"
WROTE = "SELECT DISTINCT profile_id FROM profile_log WHERE parser_version = %s ORDER BY 1"

Declare = Callable[[Callable[[InstagramAccount], InstagramAccount] | None], None]


def wrong(account: InstagramAccount) -> InstagramAccount:
    """As a parser with two bugs reads it: the rules see one of them, and the other is written."""
    return msgspec.structs.replace(account, followers=(account.followers or 0) * 1000 + 999, biography="a bug")


def unreadable(account: InstagramAccount) -> InstagramAccount:
    raise KeyError("edges")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"parser_canary": {f"{SOURCE}/{OPERATION}": SHARE}})


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Declare a next parser, which changes what the deployed one reads, or none. Processes look at each batch whether it may read."""
    monkeypatch.setattr(canaries, "LOOKED_AT_EVERY", -1.0)

    def now(change: Callable[[InstagramAccount], InstagramAccount] | None) -> None:
        def parse(body: bytes, spec: FetchSpec) -> Parsed:
            parsed = OLD.parse(body, spec)
            assert change is not None
            records = [change(one) if isinstance(one, InstagramAccount) else one for one in parsed.records]
            return dataclasses.replace(parsed, records=records)

        following = None if change is None else NextParser(parse, NEXT)
        monkeypatch.setitem(
            platform.sources[SOURCE].endpoints,  # type: ignore[arg-type]
            OPERATION,
            dataclasses.replace(OLD, next_parser=following),
        )

    return now


@pytest.fixture
async def another(engine: Engine) -> AsyncIterator[Engine]:
    """Another process, which knows nothing of the first."""
    again = engine_with(engine.settings, ProviderClient(engine.settings))
    yield again
    await again.close()


async def refresh_all(engine: Engine, handles: Sequence[str] = HANDLES) -> dict[int, int]:
    """How many of the answers each parser version has read."""
    ((last,),) = await rows(engine.database, "SELECT coalesce(max(id), 0) AS id FROM scrape_fetch")
    wanted = [NewRequest("instagram", FLOW, {"handle": handle, "posts": 0}, force=True) for handle in handles]
    await intake.accept(engine.database, wanted)
    async with asyncio.timeout(1000):
        while await rows(engine.database, "SELECT 1 AS one FROM scrape_request_log WHERE live LIMIT 1"):
            await go_on(engine)
            await asyncio.sleep(0.1)
    return dict(await rows(engine.database, READ, (last,)))


async def test_s6_11_a_canary_with_wrong_numbers_stops_itself_and_its_rows_are_restored(
    engine: Engine, another: Engine, declare: Declare
) -> None:
    await only(engine, SOURCE)
    declare(None)
    assert await refresh_all(engine) == {OLD.version: len(HANDLES)}
    good = await rows(engine.database, PROFILES)
    since = datetime.now(UTC) - timedelta(minutes=10)
    declare(wrong)
    for _ in range(3):
        read = await refresh_all(engine)
        assert read[NEXT] > 0
        if await distrusted(engine.database):
            break
    (alert,) = await distrusted(engine.database)
    assert (alert.key, alert.severity) == (f"data:{SOURCE}:{OPERATION}:next", "warning")
    assert f"the next parser of {SOURCE} {OPERATION} (version {NEXT}) is stopped" in alert.cause
    assert " observations were out of range" in alert.cause
    (parser,) = [one for one in await versions(engine.database) if (one.source, one.operation) == (SOURCE, OPERATION)]
    assert (parser.version, parser.following, parser.stopped_since is not None) == (OLD.version, NEXT, True)
    assert parser.stopped_why
    assert parser.stopped_why in alert.cause
    # All processes read with the deployed parser, and the source stays in the chain.
    assert await refresh_all(engine, HANDLES[:10]) == await refresh_all(another, HANDLES[:10]) == {OLD.version: 10}
    # What was wrong is undone from the log.
    wrote = [key for (key,) in await rows(engine.database, WROTE, (NEXT,))]
    assert wrote
    selection = Selection(since=since, kind="profiles", source=SOURCE, parser_version=NEXT)
    assert (await blast(engine.database, selection)).entities == len(wrote)
    done = await restored(engine.database, selection, apply=True)
    assert (done.state, done.entities) == ("DONE", len(wrote))
    assert await rows(engine.database, PROFILES) == good


async def test_a_stopped_canary_goes_on_when_a_person_trusts_it_and_not_before(
    engine: Engine, another: Engine, declare: Declare
) -> None:
    """Neither the answers that it had read before close its breaker, nor does somebody who resumes the source."""
    await only(engine, SOURCE)
    declare(lambda account: account)

    async def counted(counts: cohorts.Counts) -> None:
        async with engine.database.transaction() as transaction:
            standing, now = await cohorts.take(transaction, {KEY})
            standing[KEY].count(counts, now)
            await cohorts.write(transaction, standing)

    assert (await refresh_all(another, HANDLES[:10]))[NEXT] > 0
    await counted(cohorts.Counts(seen=40, odd=10))
    assert await refresh_all(another, HANDLES[:10]) == {OLD.version: 10}
    await counted(cohorts.Counts(seen=60))
    await sources.close_breaker(engine.database, SOURCE, None, **SAID)
    assert await refresh_all(another, HANDLES[:10]) == {OLD.version: 10}
    await sources.close_data_breaker(engine.database, SOURCE, OPERATION, parser_version=NEXT, **SAID)
    assert await distrusted(engine.database) == []
    assert (await refresh_all(another, HANDLES[:10]))[NEXT] > 0
    assert (await refresh_all(engine, HANDLES[:10]))[NEXT] > 0


async def test_a_good_canary_goes_on(engine: Engine, admin: SimulatorClient, declare: Declare) -> None:
    await only(engine, SOURCE)
    declare(lambda account: account)
    for _ in range(3):
        read = await refresh_all(engine)
        assert read[NEXT] > read[OLD.version] > 0
        await admin.let_happen("viral", HANDLES[0], size=3.0)
    assert await distrusted(engine.database) == []
    assert (await refresh_all(engine))[NEXT] > 0


async def test_a_canary_that_cannot_read_answers_stops_itself(engine: Engine, declare: Declare) -> None:
    """The next source answers meanwhile, as after any answer that cannot be read."""
    await only(engine, SOURCE, next(one for one in reversed(CHAIN) if one != SOURCE))
    declare(unreadable)
    for _ in range(3):
        await refresh_all(engine)
        stopped = [one for one in await distrusted(engine.database) if one.key.endswith(":next")]
        if stopped:
            break
    assert [one.key for one in stopped] == [f"data:{SOURCE}:{OPERATION}:next"]
    await sources.close_breaker(engine.database, SOURCE, None, **SAID)
    unread = await rows(engine.database, "SELECT count(*) AS n FROM quarantine WHERE parser_version = %s", (NEXT,))
    await refresh_all(engine, HANDLES[:10])
    assert unread == await rows(
        engine.database, "SELECT count(*) AS n FROM quarantine WHERE parser_version = %s", (NEXT,)
    )


async def test_a_person_stops_a_canary_before_it_has_read_anything(engine: Engine, declare: Declare) -> None:
    await only(engine, SOURCE)
    declare(wrong)
    await sources.open_data_breaker(engine.database, SOURCE, OPERATION, parser_version=NEXT, **SAID)
    assert await refresh_all(engine, HANDLES[:10]) == {OLD.version: 10}
    ago = "UPDATE trust_cohort SET open_since = open_since - make_interval(secs => %s) RETURNING 1"
    await rows(engine.database, ago, (FORGOTTEN + 1,))
    (alert,) = await stopped_by_hand(engine.database)
    assert alert.impact == "the deployed parser reads all answers, and the next one none"
    (parser,) = [one for one in await versions(engine.database) if one.following is not None]
    assert parser.stopped_why == "a person stopped it"


async def test_a_stopped_canary_does_not_keep_its_source_from_witnessing(
    engine: Engine, admin: SimulatorClient, declare: Declare
) -> None:
    first, second = [one for one in CHAIN if one in {SOURCE, "jotucker"}]
    await only(engine, first, second)
    declare(lambda account: account)
    await sources.open_data_breaker(engine.database, SOURCE, OPERATION, parser_version=NEXT, **SAID)
    await refresh_all(engine, HANDLES[:1])
    await admin.add_fault("corrupt", first, body="zero")
    await refresh_all(engine, HANDLES[:1])
    asked = "SELECT source FROM scrape_fetch WHERE witness_of IS NOT NULL AND source IS NOT NULL"
    assert (second,) in await rows(engine.database, asked)


async def test_a_process_that_cannot_look_reads_with_the_deployed_parser(
    engine: Engine, declare: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    await only(engine, SOURCE)
    declare(lambda account: account)

    async def away(*_: object) -> list[canaries.Stopped]:
        raise StorageUnavailable("PostgreSQL is away")

    with monkeypatch.context() as patch:
        patch.setattr(canaries, "stopped_of", away)
        assert await refresh_all(engine, HANDLES[:10]) == {OLD.version: 10}
    assert (await refresh_all(engine, HANDLES[:10]))[NEXT] > 0


async def test_answers_cost_one_look_now_and_then(
    engine: Engine, declare: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(lambda account: account)
    monkeypatch.setattr(canaries, "LOOKED_AT_EVERY", 3600.0)
    looks = []
    real = canaries.stopped_of

    async def counted(*given: object) -> list[canaries.Stopped]:
        looks.append(given)
        return await real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(canaries, "stopped_of", counted)
    name = f"{SOURCE}/{OPERATION}"
    assert await engine.canaries.shares(engine.database, ["jotucker/posts_by_id"]) == {}
    assert looks == []
    found = await asyncio.gather(*(engine.canaries.shares(engine.database, [name] * 100) for _ in range(20)))
    assert found == [{name: SHARE}] * 20
    assert len(looks) == 1
