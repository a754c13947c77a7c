"""What a backfill writes again: the events that were published, with the same ids, for one sink."""

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random

import psycopg
import pytest

from beat_actors.database import Database
from beat_actors.errors import UnknownName
from beat_actors.events import backfill as backfills
from beat_actors.events import replays
from beat_actors.events.backfill import Backfilled, backfill
from beat_actors.platforms.instagram import InstagramAccount, InstagramPost
from beat_actors.requests import intake, lifecycle
from beat_actors.requests.intake import NewRequest
from tests.events import sequence_all
from tests.integration.events.world import Recorder, enroll, relaying, until
from tests.observing import observe

DAY = timedelta(days=1)
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - 20 * DAY
IDS = "SELECT event_id::text FROM event WHERE type LIKE %s OR type IN ('beat.scrape_request.cancelled', 'beat.scrape_request.failed')"
PUBLISHED = ("beat.data.changed",)
LOST = "TRUNCATE event, event_log, event_pending, event_minute"


@pytest.fixture
def rows(database_url: str) -> psycopg.Connection:
    return psycopg.connect(database_url, autocommit=True)


async def world(database: Database, seed: int) -> None:
    """Profiles and posts that several sources observe, not all of which tell everything; requests that are cancelled."""
    random = Random(seed)
    for n in range(60):
        whose = {"account_id": random.choice([None, None, "acme"]), "owner": random.choice([None, None, "shop"])}
        if random.random() < 0.5:
            account = InstagramAccount(
                profile_id=str(random.randrange(3)),
                handle=random.choice(["creator", "other"]),
                biography=random.choice(["about me", None]),
                profile_pic_url=f"https://cdn.example/{n}.jpg",
                followers=random.choice([1, 1, 2, None]),
            )
            await observe(database, "instagram", account, **whose, at=NOON + n * timedelta(hours=1), fetch=n)  # type: ignore[arg-type]
        else:
            posts = [
                InstagramPost(
                    shortcode=f"post-{key}",
                    profile_id="1",
                    caption=random.choice(["one", "two", None]),
                    likes=random.choice([1, 1, 2, None]),
                )
                for key in random.sample(range(5), 3)
            ]
            await observe(database, "instagram", *posts, **whose, at=NOON + n * timedelta(hours=1), fetch=n)  # type: ignore[arg-type]
    wanted = [NewRequest("instagram", "refresh_profile_by_handle", {"handle": f"h{n}"}) for n in range(4)]
    accepted = await intake.accept(database, wanted)
    async with database.transaction() as transaction:
        await lifecycle.cancel(transaction, [one.id for one in accepted[:3]], reason="test")
    await sequence_all(database)


async def filled(database: Database, name: str = "bus") -> Backfilled:
    return await backfill(database, name, NOON - DAY, datetime.now(UTC) + DAY, rate=10_000, actor="test", reason="lost")


def ids(connection: psycopg.Connection) -> list[str]:
    return sorted(row[0] for row in connection.execute(IDS, PUBLISHED))


@pytest.mark.parametrize("seed", range(3))
async def test_s5_9_and_s5_10_every_event_that_was_published_is_written_again_with_its_id(
    database: Database, rows: psycopg.Connection, seed: int
) -> None:
    await world(database, seed)
    await enroll(database, "bus", whole=False)
    published = ids(rows)
    rows.execute(LOST)
    made = await filled(database)
    # `observe` writes requests that end and publishes no end of them, so these are written as well.
    extra = {
        row[0] for row in rows.execute("SELECT event_id::text FROM event WHERE type = 'beat.scrape_request.complete'")
    }
    assert len(set(published)) == len(published) > 20
    assert ids(rows) == published
    assert made.written == len(published) + len(extra)
    assert made.replay is not None
    assert made.replay.to_seq - made.replay.from_seq + 1 == made.written
    assert rows.execute("SELECT count(*) FROM event_pending").fetchone() == (0,)


async def test_what_the_log_has_is_not_written_again(database: Database, rows: psycopg.Connection) -> None:
    await world(database, 1)
    await enroll(database, "bus", whole=False)
    before = ids(rows)
    first = await filled(database)
    assert first.present == len(before)
    second = await filled(database)
    assert (second.written, second.earlier) == (0, first.written)
    assert ids(rows) == before
    assert second.replay is not None
    assert first.replay is not None
    assert (second.replay.from_seq, second.replay.to_seq) == (first.replay.from_seq, first.replay.to_seq)


async def test_a_run_that_breaks_off_is_cancelled_and_another_writes_the_rest(
    database: Database, rows: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world(database, 1)
    await enroll(database, "bus", whole=False)
    published = ids(rows)
    rows.execute(LOST)

    async def broken(*_: object) -> None:
        raise RuntimeError("the process ends here")

    with monkeypatch.context() as broken_off:
        broken_off.setattr(backfills, "_changes", broken)
        with pytest.raises(RuntimeError):
            await filled(database)
    async with database.transaction() as transaction:
        (draft,) = await replays.replays(transaction)
        assert draft.sink == "(bus)"
        await replays.cancel(transaction, draft.id, actor="test", reason="it broke off")
    made = await filled(database)
    assert made.earlier > 0
    assert ids(rows) == published
    assert made.replay is not None
    assert made.replay.to_seq - made.replay.from_seq + 1 == made.written + made.earlier


async def test_one_sink_gets_a_backfill_as_a_replay_and_another_gets_nothing(
    database: Database, rows: psycopg.Connection
) -> None:
    await world(database, 2)
    await enroll(database, "bus", whole=False)
    await enroll(database, "other", whole=False)
    published = set(ids(rows))
    rows.execute(LOST)
    made = await filled(database)
    bus, other = Recorder(), Recorder()
    async with relaying(database, bus) as running, relaying(database, other, name="other") as besides:
        await running.news()
        await besides.news()
        await until(lambda: len(bus.taken) >= made.written)
        await asyncio.sleep(0.5)
    assert other.taken == []
    assert published <= {event.id for event in bus.taken}
    assert len(bus.taken) == made.written
    assert all(event.replay for event in bus.taken)
    assert rows.execute("SELECT count(*) FROM event_log WHERE changes").fetchone() == (0,)


async def test_a_backfill_for_a_sink_that_does_not_exist_is_refused(database: Database) -> None:
    with pytest.raises(UnknownName, match="none was ever configured"):
        await filled(database, "nobody")
