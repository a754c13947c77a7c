"""Entities against the fold of their logs: what was changed beside the log is found, named and set right."""

from typing import Any

import pytest

from beat_actors.database import Database
from beat_actors.restoring import checking, keeping, worker
from beat_actors.restoring.checking import check
from beat_actors.restoring.selection import Target, targets
from tests.integration.restoring.worlds import FIXED, GOOD, World, profile
from tests.observing import rows


def every(_target: Target) -> bool:
    return True


async def run(database: Database, sql: str, *values: Any) -> None:
    async with database.transaction() as transaction:
        await transaction.run(sql, values)


async def test_s8_3_injected_drift_is_found_field_by_field_and_nothing_else(world: World, database: Database) -> None:
    await world.bug(40, again=10)
    clean = await check(database, every)
    assert (clean.entities, clean.drifted, clean.fields) == (60, 0, 0)
    await run(
        database, "UPDATE instagram_account SET followers = followers + 1, biography = NULL WHERE profile_id = '000013'"
    )
    await run(database, "UPDATE instagram_account SET handle = 'somebody' WHERE profile_id = '000050'")
    found = await check(database, every)
    assert (found.entities, found.drifted, found.fields) == (60, 2, 3)
    assert [(one.key, one.field) for one in found.examples] == [
        ("000013", "biography"),
        ("000013", "followers"),
        ("000050", "handle"),
    ]
    assert (found.examples[1].now, found.examples[1].logged) == (1_091_001, 1_091_000)


async def test_s8_3_what_drifted_is_set_right_from_the_log_and_that_is_undone(world: World, database: Database) -> None:
    await world.observe([profile(n) for n in range(30)], GOOD, 0)
    await run(database, "UPDATE instagram_account SET followers = 1, full_name = 'x' WHERE profile_id < '000005'")
    drifted = await world.bits()
    found = await check(database, every, fix=True, actor="test", reason="by hand")
    assert found.restore is not None
    assert await worker.work(database, found.restore)
    assert await world.differences() == []
    assert (await check(database, every)).drifted == 0
    from tests.integration.restoring.test_restore import undone

    await undone(database, found.token)
    assert await world.bits() == drifted
    assert await rows(database, "SELECT count(*) FROM profile_log WHERE excluded_by IS NOT NULL") == [(0,)]


async def test_s8_3_the_daily_sweep_walks_in_slices_and_raises_an_alert_until_it_is_set_right(
    world: World, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.observe([profile(n) for n in range(30)], GOOD, 0)
    await run(database, "UPDATE instagram_account SET followers = 1 WHERE profile_id = '000029'")
    monkeypatch.setattr(checking, "PAGE", 7)
    monkeypatch.setattr(checking.check_page, "__kwdefaults__", {"limit": 7})
    for _ in range(30):
        await checking.sweep(database, seconds=0.001)  # a slice each time, or none
    await checking.sweep(database, seconds=60)
    assert (await checking.sweep(database)).count == 0  # the round of today has ended
    ((checked, wrong),) = await rows(
        database, "SELECT checked, drifted FROM entity_check WHERE entity = 'instagram_account'"
    )
    assert (checked, wrong) == (30, 1)
    (alert,) = await checking.drifted(database)
    assert alert.key == "consistency:instagram_account"
    assert "000029.followers" in alert.cause
    await run(database, "UPDATE instagram_account SET followers = 1203 WHERE profile_id = '000029'")
    await run(database, "UPDATE entity_check SET started_at = started_at - interval '25 hours'")
    await checking.sweep(database, seconds=60)
    assert await checking.drifted(database) == []


async def test_an_answer_that_tells_an_entity_in_two_ways_is_no_drift(world: World, database: Database) -> None:
    import msgspec

    from beat_actors.pipeline.writing import write_entities
    from beat_actors.platforms.registry import platform

    async with database.transaction() as transaction:
        await write_entities(
            transaction,
            "instagram",
            platform("instagram").entity_in("instagram_account"),
            {
                "fetches": [1], "requests": [1], "accounts": [""], "owners": [""], "observed": [world.start], "sources": ["lama"], "versions": [1], "builds": [None],
                "records": [msgspec.json.encode([profile(1), profile(1, followers=3), profile(1, biography="other")]).decode()],
            },
        )  # fmt: skip
    assert (await check(database, every)).drifted == 0


async def test_the_last_good_state_of_an_entity_stays_when_its_days_leave_the_log(database: Database) -> None:
    """Of one that is observed no more, all fields; of one that another source goes on observing, those that this source does not tell."""
    world = World(database, days=database.settings.log_days + 4)
    await make_days(database, world)
    await world.observe([profile(n) for n in range(6)], GOOD, 0)
    recent = (database.settings.log_days + 1) * 24
    part = [profile(n, full_name=None, biography=None, media_count=None, is_verified=None, followers=9) for n in (0, 1)]
    await world.observe(part, FIXED, recent, source="arraybobo")
    await world.observe([profile(n) for n in (2, 3)], FIXED, recent)
    while await keeping.step(database, "profile_log") is not None:
        pass
    kept = await rows(database, "SELECT key, fields FROM entity_base ORDER BY key")
    assert [key for key, _ in kept] == ["000000", "000001", "000004", "000005"]
    assert sorted(kept[0][1]) == ["biography", "full_name", "is_verified", "media_count"]
    assert {"followers", "handle", "biography"} <= kept[2][1].keys()
    await run(database, "DELETE FROM profile_log WHERE observed_at < current_date - %s", database.settings.log_days)
    assert (await check(database, every)).drifted == 0
    assert (await check(database, every)).unlogged == 0
    await run(database, "UPDATE instagram_account SET biography = 'wrong', full_name = NULL")
    found = await check(database, every, fix=True, actor="test", reason="x")
    assert found.drifted == 6
    assert found.restore is not None
    assert await worker.work(database, found.restore)
    assert await world.differences() == []


async def test_a_bug_past_the_log_is_restored_to_the_kept_state(database: Database) -> None:
    world = World(database, days=database.settings.log_days + 4)
    await make_days(database, world)
    await world.observe([profile(n) for n in range(3)], GOOD, 0)
    while await keeping.step(database, "profile_log") is not None:
        pass
    await run(database, "DELETE FROM profile_log")
    from beat_actors.restoring.selection import Selection
    from tests.integration.restoring.test_restore import restored
    from tests.integration.restoring.worlds import BUGGY, corrupted

    later = World(database, days=2)
    await later.observe([corrupted(n) for n in range(3)], BUGGY, 0, good=False)
    done = await restored(database, Selection(since=later.start, parser_version=BUGGY), apply=True)
    assert (done.changed, done.removed) == (3, 0)
    assert await world.differences() == []


async def test_days_stay_until_they_were_read_and_go_then(database: Database) -> None:
    from beat_actors.requests import sweeps

    world = World(database, days=database.settings.log_days + 4)
    await make_days(database, world)
    await world.observe([profile(1)], GOOD, 0)
    await sweeps.partitions(database)
    assert await rows(database, "SELECT count(*) FROM profile_log") == [(1,)]
    assert (await keeping.sweep(database, seconds=60)).count == 1
    await sweeps.partitions(database)
    assert await rows(database, "SELECT count(*) FROM profile_log") == [(0,)]
    assert await rows(database, "SELECT key FROM entity_base") == [("000001",)]


async def make_days(database: Database, world: World) -> None:
    """The default partition has what is of days long past; the sweep reads from the day on that it has noted."""
    await run(
        database,
        "INSERT INTO log_retention (log, day) VALUES ('profile_log', %s), ('post_log', %s)",
        world.start.date(),
        world.start.date(),
    )


def test_every_log_that_is_folded_is_read_before_its_days_go() -> None:
    from beat_actors.requests.sweeps import KEPT, READ_FIRST

    assert {target.log for target in targets()} == READ_FIRST
    assert KEPT.keys() >= READ_FIRST
