"""Claims: their order, their bounds, their fences."""

import asyncio

from beat_actors.assets import claims, commits
from beat_actors.assets.claims import Claimed, claim
from beat_actors.assets.commits import End, How, State, Stored, commit
from beat_actors.assets.order import ENDLESS
from beat_actors.database import Database
from tests.integration.assets.rows import DAY, all_of, asset, insert, run


def keys(found: list[Claimed]) -> list[str]:
    return [one.entity_key for one in found]


async def test_s7_10_readers_then_avatars_then_classes_by_deadline(database: Database, database_url: str) -> None:
    hour = 3600.0
    insert(
        database_url,
        [
            asset("other", 3, deadline=20 * hour),
            asset("story", 2, deadline=22 * hour),
            asset("thumb-late", 1, deadline=100 * hour),
            asset("thumb-soon", 1, deadline=99 * hour),
            asset("avatar-late", 0, deadline=50 * hour),
            asset("avatar-soon", 0, deadline=40 * hour),
            asset("avatar-over", 0, deadline=-hour),
            asset("unknown", 1, deadline=None),
            asset("asked", 3, deadline=90 * hour),
        ],
    )
    run(database_url, "UPDATE asset_log SET wanted_at = now() WHERE entity_key = 'asked'")
    order = [
        "asked",
        "avatar-soon",
        "avatar-late",
        "thumb-soon",
        "thumb-late",
        "story",
        "other",
        "avatar-over",
        "unknown",
    ]
    assert keys(await claim(database, 9, urgent=60)) == order
    run(database_url, "UPDATE asset_log SET status = 'PENDING'")
    # What would be lost before the backlog is done goes before its class.
    order[3:7] = ["other", "story", "thumb-soon", "thumb-late"]
    assert keys(await claim(database, 9, urgent=23 * hour)) == order
    run(database_url, "UPDATE asset_log SET status = 'PENDING'")
    assert keys(await claim(database, 4, urgent=ENDLESS, aged=1)) == ["asked", "thumb-soon", "story", "other"]
    run(database_url, "UPDATE asset_log SET status = 'PENDING'")
    assert keys(await claim(database, 9, urgent=60, classes=(0, 1))) == [
        "asked", "avatar-soon", "avatar-late", "thumb-soon", "thumb-late", "avatar-over", "unknown",
    ]  # fmt: skip


async def test_s7_6_no_more_is_in_flight_than_the_flow_allows(database: Database, database_url: str) -> None:
    insert(database_url, [asset(f"a{n}") for n in range(60)])
    run(
        database_url,
        "INSERT INTO flow_setting (platform, flow, workers, concurrency) VALUES ('assets', 'asset_upload_flow', 2, 10)",
    )
    several = await asyncio.gather(*(claim(database, 15, urgent=60) for _ in range(5)))
    assert sorted(len(found) for found in several) == [0, 0, 0, 5, 15]
    run(database_url, "UPDATE flow_setting SET concurrency = 20")
    assert len(await claim(database, 100, urgent=60)) == 20
    run(database_url, "UPDATE flow_setting SET paused = true, workers = 1000")
    assert await claim(database, 100, urgent=60) == []
    run(database_url, "UPDATE flow_setting SET paused = false, workers = NULL")
    assert len(await claim(database, 100, urgent=60)) == 20


async def test_a_lost_upload_comes_back_and_its_old_process_changes_nothing(
    database: Database, database_url: str
) -> None:
    insert(database_url, [asset("a")])
    (first,) = await claim(database, 1, urgent=60)
    run(database_url, "UPDATE asset_log SET lease_until = now()")
    (second,) = await claim(database, 1, urgent=60, tidies=True)
    assert (second.fence, second.attempts) == (first.fence + 1, 2)
    content = Stored(b"a" * 32, How.MADE, 5, "image/jpeg", 1, 1)
    assert await commit(database, [End(first, State.COMPLETE, content)]) == []
    assert all_of(database_url, "status, content") == [("PROCESSING", None)]
    # What the first one stored is nobody's until the second one comes to the same content.
    assert run(database_url, "SELECT unused_since IS NULL FROM asset_object") == [(False,)]
    await commit(database, [End(second, State.COMPLETE, content)])
    assert all_of(database_url, "status, content, attempts, wanted_at") == [("COMPLETE", b"a" * 32, 0, None)]
    assert run(database_url, "SELECT unused_since IS NULL FROM asset_object") == [(True,)]


async def test_nothing_is_complete_without_the_row_of_its_object(database: Database, database_url: str) -> None:
    insert(database_url, [asset("known"), asset("there"), asset("made")])
    found = {one.entity_key: one for one in await claim(database, 3, urgent=60)}
    ends = [
        End(found[key], State.COMPLETE, Stored(key.encode() * 8, How(key), 5, "image/jpeg", 1, 1))
        for key in ("known", "there", "made")
    ]
    ended = {one.public_id: one.status for one in await commit(database, ends)}
    assert [ended[found[key].public_id] for key in ("known", "there", "made")] == ["PENDING", "PENDING", "COMPLETE"]
    assert run(database_url, "SELECT content, unused_since IS NULL FROM asset_object ORDER BY content") == [
        (b"made" * 8, True),
        (b"there" * 8, False),
    ]
    found = {one.entity_key: one for one in await claim(database, 3, urgent=60)}
    ends = [End(found["there"], State.COMPLETE, Stored(b"there" * 8, How.THERE, 5, "image/jpeg", 1, 1))]
    assert [one.status for one in await commit(database, ends)] == ["COMPLETE"]
    assert await commits.known(database, [b"there" * 8, b"x"]) == {b"there" * 8}


async def test_what_changed_since_the_claim_is_uploaded_again(database: Database, database_url: str) -> None:
    insert(database_url, [asset("a"), asset("b"), asset("c")])
    found = {one.entity_key: one for one in await claim(database, 3, urgent=60)}
    run(database_url, "UPDATE asset_log SET identity = 'new', url = url || '?v=2' WHERE entity_key = 'a'")
    run(database_url, "UPDATE asset_log SET url = url || '?sig=2' WHERE entity_key IN ('b', 'c')")
    content = Stored(b"a" * 32, How.MADE, 5, "image/jpeg", 1, 1)
    await commit(
        database,
        [
            End(found["a"], State.COMPLETE, content),
            End(found["b"], State.REFETCH, failure="expired"),
            End(found["c"], State.COMPLETE, content),
        ],
    )
    assert all_of(database_url, "entity_key, status, content IS NOT NULL, content_identity = identity") == [
        ("a", "PENDING", True, False),
        ("b", "PENDING", False, None),
        ("c", "COMPLETE", True, True),
    ]


async def test_a_short_lived_url_is_tried_again_before_it_dies_and_a_dead_one_is_not(
    database: Database, database_url: str
) -> None:
    insert(
        database_url,
        [
            asset("long"),
            asset("short", deadline=100, expires=100),
            asset("dead", deadline=1000),
            asset("over", expires=-1, deadline=-1),
        ],
    )
    found = {one.entity_key: one for one in await claim(database, 9, urgent=60)}
    assert [found[key].dead for key in ("long", "dead", "over")] == [False, False, True]
    run(database_url, "UPDATE asset_log SET deadline = now(), expires_at = now() WHERE entity_key = 'dead'")
    await commit(database, [End(one, State.WAITING, failure="busy", delay=600) for one in found.values()])
    told = all_of(
        database_url,
        "entity_key, status, round(extract(epoch FROM not_before - clock_timestamp()))::integer / 10",
        "entity_key <> 'over'",
    )
    assert told == [("long", "WAITING", 60), ("short", "WAITING", 2), ("dead", "REFETCH", told[2][2])]
    run(database_url, "UPDATE asset_log SET not_before = now()")
    assert keys(await claim(database, 9, urgent=60, tidies=True)) == ["short", "long"]
    insert(database_url, [asset("gone by", expires=-5, deadline=-5)])
    assert await claim(database, 9, urgent=60, tidies=True) == []
    assert all_of(database_url, "status, failure", "entity_key = 'gone by'") == [("REFETCH", claims.OVER)]


async def test_what_was_given_back_counts_as_no_attempt_and_a_replaced_picture_is_nobodys(
    database: Database, database_url: str
) -> None:
    insert(database_url, [asset("a"), asset("b")])
    for content in (b"x", b"y"):
        found = await claim(database, 2, urgent=60)
        ends = [End(one, State.COMPLETE, Stored(content * 32, How.MADE, 5, "image/jpeg", 1, 1)) for one in found]
        await commit(database, ends)
        run(database_url, "UPDATE asset_log SET status = 'PENDING'")
    assert run(database_url, "SELECT content, unused_since IS NULL FROM asset_object ORDER BY 1") == [
        (b"x" * 32, False),
        (b"y" * 32, True),
    ]
    await commit(database, [End(one, State.PENDING, counts=False) for one in await claim(database, 2, urgent=60)])
    assert all_of(database_url, "status, attempts, content") == [("PENDING", 0, b"y" * 32)] * 2


async def test_usage_is_counted_by_account_and_class(database: Database, database_url: str) -> None:
    insert(database_url, [asset("a", 0, account="one"), asset("b", 0, account="one"), asset("c", 3, deadline=2 * DAY)])
    spent = commits.Spent(requests=1, fetched=100, puts=1, stored=90)
    for _ in range(2):
        found = await claim(database, 3, urgent=60)
        await commit(database, [End(one, State.FAILED, failure="html", spent=spent) for one in found])
        run(database_url, "UPDATE asset_log SET status = 'PENDING'")
    columns = "account_id, class, requests, fetched, puts, stored, failed"
    assert run(database_url, f"SELECT {columns} FROM asset_usage ORDER BY 1, 2") == [
        ("", 3, 2, 200, 2, 180, 2),
        ("one", 0, 4, 400, 4, 360, 4),
    ]


async def test_events_say_what_is_stored_and_what_is_lost_and_nothing_twice(
    database: Database, database_url: str
) -> None:
    insert(database_url, [asset("a"), asset("b")])
    for content in (b"x", b"x", b"y"):
        found = {one.entity_key: one for one in await claim(database, 2, urgent=60)}
        made = Stored(content * 32, How.MADE, 5, "image/jpeg", 1, 1)
        await commit(database, [End(found["a"], State.COMPLETE, made), End(found["b"], State.WAITING, failure="busy")])
        run(database_url, "UPDATE asset_log SET status = 'PENDING'")
    found = {one.entity_key: one for one in await claim(database, 2, urgent=60)}
    await commit(database, [End(found["b"], State.FAILED, failure="html: a page")])
    told = "SELECT type, data->>'key', left(data->>'content', 2), left(data->>'replaces', 2), data->>'failure' FROM event ORDER BY id"
    assert run(database_url, told) == [
        ("beat.asset.stored", "a", "78", None, None),
        ("beat.asset.stored", "a", "79", "78", None),
        ("beat.asset.lost", "b", None, None, "html"),
    ]


async def test_what_ends_its_processes_is_claimed_alone_and_then_given_up(
    database: Database, database_url: str
) -> None:
    insert(database_url, [asset("kills"), asset("kills-too"), asset("good")])
    run(database_url, "UPDATE asset_log SET content = 'last'")
    states = []
    for _ in range(12):
        found = await claim(database, 9, urgent=60, tidies=True)
        suspects = all_of(database_url, "rescues", "status = 'PROCESSING' AND rescues > 3")
        states.append((sorted(keys(found)), len(suspects)))
        # The others end well, and their process ends behind them.
        await commit(database, [End(one, State.WAITING, failure="busy") for one in found if one.entity_key == "good"])
        lapse = "UPDATE asset_log SET lease_until = now() WHERE status = 'PROCESSING'"
        run(database_url, lapse)
        await claim(database, 0, urgent=60, tidies=True)
        run(database_url, "UPDATE asset_log SET not_before = now() WHERE status = 'WAITING'")
    assert states[:3] == [(["good", "kills", "kills-too"], 0)] * 3
    assert all(suspects <= 1 for _, suspects in states)
    assert sorted(key for found, _ in states[3:] for key in found if key != "good") == ["kills"] * 3 + ["kills-too"] * 3
    failed = ("FAILED", claims.CRASH, 6, b"last")
    good = all_of(database_url, "status, rescues", "entity_key = 'good'")
    assert all_of(database_url, "status, failure, rescues, content", "entity_key <> 'good'") == [failed, failed]
    assert good[0][1] == 0
    told = "SELECT type, data->>'status', count(*)::int FROM event GROUP BY 1, 2"
    assert run(database_url, told) == [("beat.asset.lost", "FAILED", 2)]


async def test_upkeep_reads_no_more_than_it_changes(database: Database, database_url: str) -> None:
    fill = """
    INSERT INTO asset_log (platform, entity, entity_key, field, url, status, class, deadline, not_before, expires_at)
    SELECT 'instagram', 'instagram_account', n::text, 'f', 'https://cdn.example.com/' || n, CASE WHEN n % 2 = 0 THEN 'WAITING' ELSE 'PENDING' END, 1,
        now() - interval '1 hour', now() + interval '1 hour', CASE WHEN n % 1000 = 1 THEN now() - interval '1 minute' END
    FROM generate_series(1, 20000) n"""
    run(database_url, fill)
    run(database_url, "VACUUM ANALYZE asset_log")
    for sql, values, changed in (
        (claims.EXPIRE, {"limit": 500, "failure": "over"}, 20),
        (claims.DUE, {"limit": 500, "classes": [0, 1]}, 0),
        (claims.LOOK, {}, 0),
    ):
        (row,) = run(database_url, f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql.text}", values)
        plan = row[0][0]["Plan"]
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 1000 + 50 * changed, (sql.name, plan)
    assert run(database_url, "SELECT count(*)::int FROM asset_log WHERE status = 'REFETCH'") == [(20,)]


async def test_a_url_without_an_end_that_fails_for_a_week_is_taken_for_dead(
    database: Database, database_url: str
) -> None:
    insert(database_url, [asset(key) for key in ("new", "few", "over", "not tried")])
    run(database_url, "UPDATE asset_log SET attempts = CASE entity_key WHEN 'few' THEN 22 ELSE 40 END")
    run(database_url, "UPDATE asset_log SET observed_at = now() - interval '8 days' WHERE entity_key <> 'new'")
    found = await claim(database, 9, urgent=60)
    ends = [End(one, State.WAITING, failure="name", counts=one.entity_key != "not tried") for one in found]
    await commit(database, ends)
    assert all_of(database_url) == [
        ("new", "WAITING"),
        ("few", "WAITING"),
        ("over", "REFETCH"),
        ("not tried", "WAITING"),
    ]
