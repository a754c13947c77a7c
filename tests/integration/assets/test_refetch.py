"""Assets with dead URLs: their parents are asked for once, and what they do not bring is lost with a reason."""

import pytest

from beat_actors.assets.refetch import NO_WAY, NOT_THERE, NOT_TOLD, OPEN, Sweep
from beat_actors.database import Database
from beat_actors.platforms.registry import platform as platform_named
from tests.integration.assets.rows import all_of, asset, insert, run

PROFILE = """INSERT INTO instagram_account (profile_id, handle, account_id, owner, source, parser_version, request_id, observed_at)
SELECT 'p' || n, 'creator_' || n, '', '', 'lama', 1, 1, now() FROM generate_series(0, %s) n"""
REQUESTS = "SELECT flow, params->>'handle', priority::int, status FROM scrape_request_log ORDER BY id"
LATER = "SELECT count(*)::int FROM scrape_request_log"


def dead(database_url: str, parents: int, each: int, entity: str = "instagram_post") -> None:
    """So many profiles with so many posts each, whose URLs are dead."""
    insert(database_url, [asset(f"{n}-{i}", 1, parent=f"p{n}") for n in range(parents) for i in range(each)])
    run(
        database_url,
        f"UPDATE asset_log SET status = 'REFETCH', failure = 'expired: HTTP 403', content = 'last', parent_kind = 'profiles', entity = '{entity}'",
    )
    run(database_url, PROFILE, [parents - 1])


async def sweeps(database: Database, sweep: Sweep, times: int) -> None:
    for _ in range(times):
        await sweep(database, None)


@pytest.mark.parametrize("parents", [pytest.param(500, marks=pytest.mark.exhaustive), 40])
async def test_s7_3_refetch_asks_once_for_each_profile_however_many_pictures_died(
    database: Database, database_url: str, parents: int
) -> None:
    dead(database_url, parents, 20)
    sweep = Sweep()
    await sweeps(database, sweep, 8)
    assert run(database_url, LATER) == [(min(parents, OPEN),)]
    assert set(run(database_url, "SELECT flow, priority::int, status FROM scrape_request_log")) == {
        ("refresh_profile_by_handle", 3, "PENDING")
    }
    # Those that end make room for others, and no profile is asked for twice.
    for _ in range(4):
        run(database_url, "UPDATE scrape_request_log SET status = 'FAILED', scraped_at = now()")
        await sweeps(database, sweep, 12)
    assert run(database_url, LATER) == [(parents,)]
    assert run(database_url, "SELECT count(DISTINCT params->>'handle')::int FROM scrape_request_log") == [(parents,)]
    # A request that failed for another reason says nothing of the pictures.
    assert set(all_of(database_url, "status, content")) == {("REFETCH", b"last")}


async def test_s7_3_refetch_ends_with_a_fresh_url_or_a_reason_and_the_last_picture_stays(
    database: Database, database_url: str
) -> None:
    dead(database_url, 4, 3)
    run(database_url, "UPDATE asset_log SET failure = 'gone: HTTP 404' WHERE entity_key = '1-2'")
    sweep = Sweep()
    await sweeps(database, sweep, 1)
    # What died after its parent was asked for waits for the next time.
    run(database_url, "UPDATE asset_log SET refetched_at = NULL WHERE entity_key = '1-1'")
    run(
        database_url,
        "UPDATE asset_log SET status = 'PENDING', failure = NULL WHERE entity_key LIKE '0-%'",
    )
    error = """UPDATE scrape_request_log SET scraped_at = now(), status = CASE params->>'handle' WHEN 'creator_1' THEN 'COMPLETE' ELSE 'FAILED' END,
        data = jsonb_build_object('error', jsonb_build_object('code', CASE params->>'handle' WHEN 'creator_2' THEN 'missing' ELSE 'no_sources' END))"""
    run(database_url, error)
    await sweeps(database, sweep, 2)
    found = {key: (status, failure) for key, status, failure in all_of(database_url, "entity_key, status, failure")}
    assert {found[f"0-{n}"] for n in range(3)} == {("PENDING", None)}
    assert found["1-0"] == ("EXPIRED", f"expired: HTTP 403; {NOT_TOLD}")
    assert found["1-1"] == ("REFETCH", "expired: HTTP 403")
    assert found["1-2"] == ("GONE", f"gone: HTTP 404; {NOT_TOLD}")
    assert {found[f"2-{n}"] for n in range(3)} == {("GONE", f"expired: HTTP 403; {NOT_THERE}")}
    assert {found[f"3-{n}"] for n in range(3)} == {("REFETCH", "expired: HTTP 403")}
    assert set(all_of(database_url, "content")) == {(b"last",)}
    lost = "SELECT data->>'status', count(*)::int FROM event WHERE type = 'beat.asset.lost' GROUP BY 1 ORDER BY 1"
    assert run(database_url, lost) == [("EXPIRED", 1), ("GONE", 4)]


async def test_a_parent_is_asked_for_again_after_a_day(database: Database, database_url: str) -> None:
    dead(database_url, 1, 2)
    sweep = Sweep()
    await sweeps(database, sweep, 2)
    run(
        database_url,
        "UPDATE scrape_request_log SET status = 'FAILED', live = false, created_at = created_at - interval '25 hours', "
        "idempotency_key = idempotency_key || ' before'",
    )
    run(database_url, "UPDATE asset_log SET refetched_at = refetched_at - interval '25 hours'")
    await sweeps(database, sweep, 2)
    assert run(database_url, LATER) == [(2,)]


async def test_an_entity_that_nothing_observes_again_loses_its_pictures_with_a_reason(
    database: Database, database_url: str
) -> None:
    dead(database_url, 2, 1)
    run(database_url, "DELETE FROM instagram_account WHERE profile_id = 'p0'")
    run(database_url, "UPDATE asset_log SET parent_kind = 'nothing' WHERE parent_key = 'p1'")
    await sweeps(database, Sweep(), 1)
    assert all_of(database_url, "status, failure") == [("EXPIRED", f"expired: HTTP 403; {NO_WAY}")] * 2
    assert run(database_url, LATER) == [(0,)]


async def test_the_flow_of_the_list_is_asked_where_listed_things_wait(database: Database, database_url: str) -> None:
    dead(database_url, 2, 2)
    account = platform_named("instagram").entity_in("instagram_account")
    run(database_url, f"UPDATE asset_log SET entity = '{account.table}' WHERE parent_key = 'p0'")
    await sweeps(database, Sweep(), 1)
    assert run(
        database_url, "SELECT params->>'handle', (params->>'posts')::int FROM scrape_request_log ORDER BY 1"
    ) == [
        ("creator_0", 0),
        ("creator_1", 12),
    ]


async def test_each_owner_s_pictures_are_asked_for_with_an_account_of_theirs(
    database: Database, database_url: str
) -> None:
    dead(database_url, 1, 4)
    run(
        database_url,
        """UPDATE asset_log SET owner = CASE entity_key WHEN '0-0' THEN 'one' WHEN '0-1' THEN 'two' ELSE '' END,
        account_id = CASE entity_key WHEN '0-0' THEN 'b' WHEN '0-1' THEN 'c' WHEN '0-2' THEN 'd' ELSE 'a' END""",
    )
    sweep = Sweep()
    await sweeps(database, sweep, 3)
    assert run(database_url, "SELECT account_id FROM scrape_request_log ORDER BY 1") == [("a",), ("b",), ("c",)]
    # What one request brings says nothing of the pictures of others.
    run(database_url, "UPDATE scrape_request_log SET status = 'COMPLETE', scraped_at = now() WHERE account_id = 'b'")
    await sweeps(database, sweep, 1)
    assert all_of(database_url, "owner, status", "status <> 'REFETCH'") == [("one", "EXPIRED")]


async def test_an_account_that_may_not_ask_leaves_it_to_one_that_may(database: Database, database_url: str) -> None:
    insert(
        database_url, [asset(key, 1, account="a-revoked", parent=f"{key}.myshopify.com") for key in ("kept", "lost")]
    )
    run(
        database_url,
        """UPDATE asset_log SET status = 'REFETCH', failure = 'expired', platform = 'shopify', parent_kind = 'stores',
        entity = 'store', owner = parent_key""",
    )
    run(
        database_url,
        "INSERT INTO owner_grant (account_id, platform, owner, granted_by) VALUES ('holder', 'shopify', 'kept.myshopify.com', 'test')",
    )
    await sweeps(database, Sweep(), 2)
    assert run(database_url, "SELECT account_id, flow FROM scrape_request_log") == [("holder", "refresh_store")]
    (kept, lost) = all_of(database_url, "status, failure")
    assert kept == ("REFETCH", "expired")
    assert lost[0] == "EXPIRED"
    # The next time the reason takes the place of this one.
    run(database_url, "UPDATE asset_log SET status = 'REFETCH', refetched_at = NULL WHERE entity_key = 'lost'")
    await sweeps(database, Sweep(), 1)
    assert all_of(database_url, "status, failure", "entity_key = 'lost'") == [lost]
