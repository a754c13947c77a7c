"""What Beat knew at a time, and what is known of that time by now."""

from datetime import timedelta

import msgspec

from beat_actors.access.reader import OPERATOR, Reader
from beat_actors.data.items import Item
from beat_actors.database import Database
from beat_actors.platforms.instagram.entities import InstagramPost
from beat_actors.platforms.registry import platform
from beat_actors.restoring.as_of import Moment, as_of
from tests.integration.restoring.test_restore import restored, undone
from tests.integration.restoring.worlds import BUGGY, FIXED, GOOD, World, corrupted, profile
from tests.observing import observe

INSTAGRAM = platform("instagram")
ACCOUNT = INSTAGRAM.entity_in("instagram_account")


async def at(
    world: World, hours: float, *keys: str, known_now: bool = False, reader: Reader = OPERATOR
) -> dict[str, Item]:
    moment = Moment(world.start + timedelta(hours=hours), known_now)
    async with world.database.transaction() as transaction:
        return await as_of(transaction, INSTAGRAM, ACCOUNT, keys or ("000000",), moment, reader)


async def written_when_observed(database: Database) -> None:
    """These observations were written at once."""
    async with database.transaction() as transaction:
        await transaction.run("UPDATE profile_log SET written_at = observed_at")


async def test_an_entity_is_as_it_was_observed_by_then(world: World, database: Database) -> None:
    await world.observe([profile(0)], GOOD, 0)
    await world.observe([profile(0, followers=2000)], GOOD, 10)
    await world.observe([profile(0, biography="later")], GOOD, 20)
    await written_when_observed(database)
    for known_now in (False, True):
        assert await at(world, -1, known_now=known_now) == {}
        first, second, third = [(await at(world, hours, known_now=known_now))["000000"] for hours in (5, 15, 25)]
        assert [one.fields["followers"] for one in (first, second, third)] == [1000, 2000, 1000]
        assert [one.fields["biography"] for one in (first, third)] == ["words of 0 ☕", "later"]
        assert first.as_of == world.start
        assert second.as_of == world.start + timedelta(hours=10)
        assert "profile_pic_url" not in first.fields


async def test_what_was_written_later_is_known_now_and_was_not_then(world: World, database: Database) -> None:
    await world.observe([profile(0)], GOOD, 0)
    await world.observe([profile(0, followers=7)], GOOD, 10)  # its answer waited: it is written now
    async with database.transaction() as transaction:
        await transaction.run(
            "UPDATE profile_log SET written_at = observed_at WHERE observed_at < %s",
            (world.start + timedelta(hours=5),),
        )
    assert (await at(world, 12))["000000"].fields["followers"] == 1000
    assert (await at(world, 12, known_now=True))["000000"].fields["followers"] == 7


async def test_excluded_observations_were_believed_then_and_are_not_known_now(world: World, database: Database) -> None:
    selection = await world.bug(3)
    await written_when_observed(database)
    done = await restored(database, selection, apply=True)
    assert (await at(world, 26))["000000"].fields["followers"] == 1_000_000
    assert (await at(world, 26, known_now=True))["000000"].fields["followers"] == 1001
    assert (await at(world, 24 * 4))["000000"].fields["followers"] == 1001  # after the restore
    await undone(database, done.token)
    assert (await at(world, 26, known_now=True))["000000"].fields["followers"] == 1_000_000


async def test_a_reader_sees_rows_of_others_at_no_time(world: World, database: Database) -> None:
    await world.observe([profile(0)], GOOD, 0, account="acme")
    await written_when_observed(database)
    assert await at(world, 5, reader=Reader("rival")) == {}
    assert (await at(world, 5, reader=Reader("acme")))["000000"].fields["followers"] == 1000


async def test_times_come_back_as_times(world: World, database: Database) -> None:
    post = InstagramPost(shortcode="abc", profile_id="000000", likes=3, taken_at=world.start, video_duration=1.5)
    await observe(database, "instagram", post, at=world.start)
    async with database.transaction() as transaction:
        await transaction.run("UPDATE post_log SET written_at = observed_at")
        entity = INSTAGRAM.entity_in("instagram_post")
        found = await as_of(transaction, INSTAGRAM, entity, ["abc"], Moment(world.start + timedelta(hours=1)), OPERATOR)
    assert {name: found["abc"].fields[name] for name in ("taken_at", "likes", "video_duration")} == {
        "taken_at": world.start,
        "likes": 3,
        "video_duration": 1.5,
    }
    assert msgspec.json.encode(found)


async def test_newer_good_observations_and_bad_ones_side_by_side(world: World, database: Database) -> None:
    await world.observe([profile(0)], GOOD, 0)
    await world.observe([corrupted(0)], BUGGY, 5, good=False)
    await world.observe([profile(0, followers=4)], FIXED, 6)
    await written_when_observed(database)
    assert [(await at(world, hours))["000000"].fields["followers"] for hours in (1, 5.5, 7)] == [1000, 1_000_000, 4]
