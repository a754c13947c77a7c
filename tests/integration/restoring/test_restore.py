"""A parser bug that was deployed: whom it reached, entities set right from their logs alone, and back again."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from beat_actors.database import Database
from beat_actors.errors import BadInput, Conflict, NotFound
from beat_actors.restoring import jobs, worker
from beat_actors.restoring.jobs import NewRestore, RestoreView
from beat_actors.restoring.selection import Selection
from beat_actors.settings import Settings
from tests.integration.restoring.worlds import BUGGY, FIXED, World, corrupted, profile
from tests.observing import rows

CALLS = "SELECT (SELECT count(*) FROM scrape_fetch) + (SELECT count(*) FROM scrape_request_log) + (SELECT count(*) FROM trace_log)"
EXCLUDED = "SELECT count(*) FROM profile_log WHERE excluded_by IS NOT NULL"


async def restored(database: Database, selection: Selection, **how: Any) -> RestoreView:
    """Make a restore, and do its work until it waits or has ended."""
    given = {name: value for name, value in msgspec.structs.asdict(selection).items() if value is not None}
    async with database.transaction() as transaction:
        made = await jobs.create(transaction, NewRestore(**given, reason="parser 8 is wrong", **how), actor="test")
    assert await worker.work(database, made.id)
    return await viewed(database, made.id)


async def viewed(database: Database, restore_id: int) -> RestoreView:
    async with database.transaction() as transaction:
        return await jobs.restore(transaction, restore_id)


async def undone(database: Database, token: str | None) -> RestoreView:
    async with database.transaction() as transaction:
        made = await jobs.undo(transaction, token or "", actor="test", reason="the parser was right")
    assert await worker.work(database, made.id)
    return await viewed(database, made.id)


async def test_s8_6_a_dry_run_says_what_would_change_and_changes_nothing(world: World, database: Database) -> None:
    selection = await world.bug(60)
    before, calls = await world.bits(), await rows(database, CALLS)
    plan = await restored(database, selection)
    assert (plan.state, plan.entities, plan.done, plan.changed, plan.removed) == ("PLANNED", 60, 60, 60, 0)
    assert {(one.field, one.entities) for one in plan.fields} == {
        ("followers", 60),
        ("biography", 60),
        ("category", 60),
    }
    assert plan.examples[0].before == {"followers": 1_000_000, "biography": "words of 1 ☕", "category": "bug"}
    assert plan.examples[0].after == {"followers": 1001, "biography": "words of 0 ☕", "category": None}
    assert plan.token is None
    assert await world.bits() == before
    assert await rows(database, EXCLUDED) == [(0,)]
    assert await rows(database, CALLS) == calls


async def test_s8_6_a_restore_makes_entities_equal_to_the_truth_and_its_undo_puts_every_bit_back(
    world: World, database: Database
) -> None:
    selection = await world.bug(60, again=20, new=7)
    corrupted_bits, calls = await world.bits(), await rows(database, CALLS)
    assert len(await world.differences()) > 60
    done = await restored(database, selection, apply=True)
    assert await world.differences() == []
    assert (done.state, done.entities, done.removed) == ("DONE", 67, 7)
    assert await rows(database, EXCLUDED) == [(67,)]
    back = await undone(database, done.token)
    assert (back.state, back.undone, back.kept) == ("UNDONE", 67, 0)
    assert await world.bits() == corrupted_bits
    assert await rows(database, EXCLUDED) == [(0,)]
    assert await rows(database, CALLS) == calls


async def test_s8_6_a_plan_is_applied_later_with_what_came_meanwhile(world: World, database: Database) -> None:
    plan = await restored(database, await world.bug(30))
    await world.observe([profile(n, followers=5) for n in range(10)], FIXED, 40)
    async with database.transaction() as transaction:
        await jobs.apply(transaction, plan.id, actor="test", reason="the plan is right")
    assert await worker.work(database, plan.id)
    assert (await viewed(database, plan.id)).state == "DONE"
    assert await world.differences() == []


async def test_s8_6_what_was_observed_since_a_restore_stays_when_it_is_undone_and_is_named(
    world: World, database: Database
) -> None:
    done = await restored(database, await world.bug(30), apply=True)
    newer = [msgspec.structs.replace(profile(n), biography=None, category=None, followers=4242) for n in range(10)]
    await world.observe(newer, FIXED, 50)
    back = await undone(database, done.token)
    assert back.kept == 10
    found = {row["profile_id"]: row for row in await world.rows()}
    for n in range(30):
        row, bad = found[f"{n:06d}"], corrupted(n)
        assert (row["biography"], row["category"]) == (bad.biography, "bug")
        assert row["followers"] == (4242 if n < 10 else bad.followers)
    kept = {one.key: one.kept for one in back.examples}
    assert kept["000000"] == ["followers"]


async def test_a_late_bad_observation_is_found_by_the_second_walk(world: World, database: Database) -> None:
    selection = await world.bug(20)
    until = world.start + timedelta(hours=48)
    wanted = msgspec.structs.replace(selection, until=until)
    async with database.transaction() as transaction:
        made = await jobs.create(
            transaction,
            NewRestore(
                **{k: v for k, v in msgspec.structs.asdict(wanted).items() if v is not None}, reason="x", apply=True
            ),
            actor="test",
        )
    while (await viewed(database, made.id)).state == "COLLECTING":
        await worker._step(database, made.id, worker.Pace(window=timedelta(days=30)), None)
    # Its answer came before, and waited in a stage.
    await world.observe([corrupted(n) for n in range(20, 25)], BUGGY, 24.5, good=False)
    assert await worker.work(database, made.id)
    assert await world.differences() == []


async def test_s8_6_a_restored_entity_is_logged_whole_and_later_observations_win(
    world: World, database: Database
) -> None:
    await restored(database, await world.bug(10), apply=True)
    await world.observe([profile(n, followers=1, biography="new") for n in range(10)], FIXED, 60)
    assert await world.differences() == []
    whole = await rows(
        database, "SELECT count(*) FROM profile_log WHERE parser_version = %s AND dimensions ? 'biography'", (FIXED,)
    )
    assert whole == [(10,)]


async def test_consumers_are_told_of_a_restore_and_of_its_undo(world: World, database: Database) -> None:
    done = await restored(database, await world.bug(10), apply=True)
    await undone(database, done.token)
    told = await rows(
        database,
        "SELECT e.subject, e.data, p.changes FROM event e LEFT JOIN event_pending p USING (id) WHERE type = 'beat.data.restored' ORDER BY e.id",
    )
    assert [(subject, data["undone"], len(data["keys"])) for subject, data, _ in told] == [
        (f"restore/{done.id}", False, 10),
        (f"restore/{done.id}", True, 10),
    ]
    assert all(changes in (True, None) for *_, changes in told)


async def test_other_accounts_rows_of_an_entity_are_restored_each_from_their_own_log(
    world: World, database: Database
) -> None:
    await world.observe([profile(0, followers=50)], 7, 0, account="acme")
    selection = await world.bug(3)
    await world.observe([corrupted(0)], BUGGY, 24, good=False, account="acme")
    await restored(database, selection, apply=True)
    assert await world.differences() == []
    (acme,) = [row for row in await world.rows() if row["account_id"] == "acme"]
    assert (acme["followers"], acme["biography"], acme["category"]) == (50, "words of 0 ☕", None)


async def test_an_entity_that_the_log_does_not_know_from_before_keeps_what_the_bug_did_not_tell(
    world: World, database: Database
) -> None:
    """Its good observations have left the log."""
    await world.observe([profile(0, graph_id="1784")], 7, 0)
    async with database.transaction() as transaction:
        await transaction.run("DELETE FROM profile_log")
    await world.observe([corrupted(0)], BUGGY, 24, good=False)
    done = await restored(database, Selection(since=world.start, parser_version=BUGGY), apply=True)
    assert done.removed == 0
    (row,) = await world.rows()
    assert (row["graph_id"], row["followers"], row["handle"]) == ("1784", None, "creator_000000")


async def test_a_result_that_contained_bad_observations_answers_no_later_request(
    world: World, database: Database
) -> None:
    selection = await world.bug(2)
    async with database.transaction() as transaction:
        await transaction.run(
            "INSERT INTO scrape_request_log (platform, flow, params, status, scraped_at, open_fetches, observed_at) "
            "SELECT 'instagram', 'test', '{}', 'COMPLETE', clock_timestamp(), 0, clock_timestamp() FROM generate_series(1, 40)"
        )
    await restored(database, selection, apply=True)
    old = await rows(
        database,
        "SELECT count(*) FROM scrape_request_log r WHERE EXISTS (SELECT FROM profile_log l WHERE l.request_id = r.id AND l.excluded_by IS NOT NULL) "
        "AND r.observed_at < %s",
        (world.start + timedelta(hours=23),),
    )
    assert old == [(2,)]


async def test_what_cannot_be_selected_undone_or_applied_is_refused(world: World, database: Database) -> None:
    async with database.transaction() as transaction:
        for wrong in (
            {},
            {"since": world.start, "handle": "x"},
            {"since": world.start, "kind": "comments", "platform": "instagram"},
        ):
            with pytest.raises(BadInput):
                await jobs.create(transaction, NewRestore(reason="x", **wrong), actor="test")
        with pytest.raises(BadInput):
            await jobs.undo(transaction, "nonsense", actor="test", reason="x")
        with pytest.raises(NotFound):
            await jobs.undo(transaction, "1-abc", actor="test", reason="x")
    plan = await restored(database, await world.bug(2))
    done = await restored(database, Selection(since=world.start, parser_version=BUGGY), apply=True)
    assert done.token is not None
    async with database.transaction() as transaction:
        with pytest.raises(NotFound):
            await jobs.undo(transaction, f"{done.id}-wrong", actor="test", reason="x")
        with pytest.raises(Conflict):
            await jobs.apply(transaction, done.id, actor="test", reason="x")
        assert (await jobs.cancel(transaction, plan.id, actor="test", reason="x")).state == "CANCELLED"


async def killed(settings: Settings, restore_id: int, failpoint: str) -> None:
    """Work on a restore in a process of its own until SIGKILL ends it."""
    code = (
        "import asyncio; from beat_actors.database import Database; from beat_actors.restoring import worker; from beat_actors.settings import load\n"
        f"async def main():\n    worker.CHUNK = 20\n    pace = worker.Pace(chunk=20)\n    database = Database(load(), name='test')\n"
        f"    while await worker._step(database, {restore_id}, pace, None) not in ('DONE', 'UNDONE'): pass\nasyncio.run(main())"
    )
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BEAT_")},
        "BEAT_ENVIRONMENT": "rehearsal",
        "BEAT_FAILPOINTS": failpoint,
        "BEAT_DATABASE_URL": str(settings.database_url),
        "BEAT_REDIS_URL": str(settings.redis_url),
        "BEAT_VAULT_KEYS": settings.vault_keys.get_secret_value(),
        "BEAT_MESSAGE_KEYS": settings.message_keys.get_secret_value(),
    }
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], env=env, capture_output=True, text=True
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("point", ["restore.before_commit=kill@4", "restore.after_commit=kill@5"])
async def test_s8_6_a_process_that_is_killed_in_the_middle_changes_nothing_of_it(
    world: World, database: Database, settings: Settings, point: str
) -> None:
    selection = await world.bug(90, again=10, new=3)
    corrupted_bits = await world.bits()
    async with database.transaction() as transaction:
        given = {k: v for k, v in msgspec.structs.asdict(selection).items() if v is not None}
        made = await jobs.create(transaction, NewRestore(**given, reason="x", apply=True), actor="test")
    await worker._step(database, made.id, worker.Pace(window=timedelta(days=30)), None)
    await killed(settings, made.id, point)
    assert (await viewed(database, made.id)).state in ("APPLYING", "COLLECTING")
    assert (await worker.resume(database)).count == 1
    done = await viewed(database, made.id)
    assert done.state == "DONE"
    assert await world.differences() == []
    async with database.transaction() as transaction:
        await jobs.undo(transaction, done.token or "", actor="test", reason="x")
    await killed(settings, made.id, point.replace("@5", "@3").replace("@4", "@2"))
    assert (await worker.resume(database)).count == 1
    assert await world.bits() == corrupted_bits


async def test_live_observations_during_a_restore_win_where_they_are_newer(world: World, database: Database) -> None:
    selection = await world.bug(120)
    live = [profile(n, followers=9000 + n) for n in range(0, 120, 2)]
    given = {k: v for k, v in msgspec.structs.asdict(selection).items() if v is not None}
    async with database.transaction() as transaction:
        made = await jobs.create(transaction, NewRestore(**given, reason="x", apply=True), actor="test")

    async def write() -> None:
        for first in range(0, len(live), 6):
            await world.observe(live[first : first + 6], FIXED, 60 + first)

    worker_pace = worker.Pace(chunk=10)

    async def restore() -> None:
        while (await viewed(database, made.id)).state != "DONE":
            await worker._step(database, made.id, worker_pace, None)

    await asyncio.gather(write(), restore())
    assert await world.differences() == []
    assert json.dumps((await viewed(database, made.id)).changed)


@pytest.mark.exhaustive
async def test_s8_5_and_s8_6_ten_thousand_corrupted_rows_are_listed_restored_and_put_back(
    world: World, database: Database, settings: Settings
) -> None:
    from beat_actors.restoring.blast import blast

    selection = await world.bug(10_000, again=500, new=50)
    corrupted_bits, calls = await world.bits(), await rows(database, CALLS)
    found = await blast(database, selection)
    assert (found.entities, found.observations) == (10_050, 10_050)
    given = {name: value for name, value in msgspec.structs.asdict(selection).items() if value is not None}
    async with database.transaction() as transaction:
        made = await jobs.create(transaction, NewRestore(**given, reason="x", apply=True), actor="test")
    await killed(settings, made.id, "restore.before_commit=kill@200")
    assert (await worker.resume(database, seconds=600)).count == 1
    assert await world.differences() == []
    done = await viewed(database, made.id)
    assert (done.state, done.entities, done.removed) == ("DONE", 10_050, 50)
    assert (await undone(database, done.token)).undone == 10_050
    assert await world.bits() == corrupted_bits
    assert await rows(database, CALLS) == calls
