"""A person is erased from every table and object, and does not come back until the erasure is lifted."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from beat_actors.assets.serving.places import key_of
from beat_actors.database import Database
from beat_actors.errors import NotFound, SubjectErased
from beat_actors.local.s3 import S3Server
from beat_actors.payloads.archive import Archiver
from beat_actors.pipeline.judged import Written
from beat_actors.pipeline.writing import values_of, write_entities
from beat_actors.platforms.registry import platform
from beat_actors.privacy import running
from beat_actors.privacy.erasures import begin, lift, one, run
from beat_actors.privacy.places import places
from beat_actors.privacy.rules import How, how
from beat_actors.requests.intake import NewRequest, accept
from beat_actors.settings import Settings
from beat_actors.transport.objects import ObjectStore
from tests.integration.privacy.canary import GRAPH, HANDLE, ID, OTHER, OTHER_ID, dump, hits, payload, populate

SAID = {"actor": "ann", "reason": f"{HANDLE} asked for it"}
PICTURE = b"jpg"
CONTENT = hashlib.sha256(PICTURE).digest()


@dataclass
class World:
    database: Database
    admin: psycopg.Connection
    url: str
    assets: ObjectStore

    def count(self, text: str) -> int:
        (found,) = self.admin.execute(text).fetchone() or (0,)
        return int(found)


@pytest.fixture
async def world(with_bucket: Settings, database_url: str, s3_server: S3Server) -> AsyncIterator[World]:
    settings = with_bucket.model_copy(update={"asset_bucket": s3_server.bucket})
    database = Database(settings, name="test")
    assets = ObjectStore.of_assets(settings)
    assert assets is not None
    with psycopg.connect(database_url, autocommit=True) as admin:
        await assets.put(key_of(CONTENT), PICTURE)
        day = datetime.now(UTC).replace(hour=12) - timedelta(days=3)
        rows = [(n, payload(user={"username": HANDLE if n == 805 else OTHER, "n": n})) for n in range(800, 810)]
        for fetch_id, body in rows:
            admin.execute(
                "INSERT INTO raw_payload (fetch_id, created_at, attempt, source, body) VALUES (%s, %s, 1, 'lama', %s)",
                (fetch_id, day, body),
            )
        admin.execute("SELECT beat_make_partition('raw_payload', %s)", (day.date(),))
        await Archiver(payloads=10).run(database)
        populate(admin, CONTENT)
        yield World(database, admin, database_url, assets)
    await database.close()


def test_every_table_of_the_list_is_in_the_canary_or_kept(database_url: str) -> None:
    """What is added to the list of personal data must be erased by a test, too."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        populate(admin, CONTENT)
        filled = {
            place.table
            for place in places()
            if admin.execute(f'SELECT FROM "{place.table}" LIMIT 1').fetchone() is not None
        }
    others = {place.table for place in places() if place.entity and not place.table.startswith("instagram_")}
    kept = {place.table for place in places() if how(place) is How.KEPT}
    elsewhere = {"event", "archived_payload", "credential", "credential_event"}
    missing = {place.table for place in places()} - filled - others - kept - elsewhere
    assert not missing, f"let tests/integration/privacy/canary.py put the person into {sorted(missing)}"


@pytest.mark.slow
async def test_a_person_is_erased_from_every_table_and_object(world: World) -> None:
    before = hits(dump(world.url))
    assert len(before) >= 40
    assert HANDLE in dump(world.url)
    dry = await run(world.database, (await begin(world.database, "instagram", f"@{HANDLE}", dry_run=True, **SAID)).id)
    assert dry.ended_at is not None
    assert dry.counts["instagram_post"] == {"deleted": 1, "redacted": 1}
    assert dry.counts["bucket"]["deleted"] == 1
    assert sorted(hits(dump(world.url))) == sorted(before)
    done = await run(world.database, (await begin(world.database, "instagram", HANDLE, dry_run=False, **SAID)).id)
    assert done.ended_at is not None
    assert done.waits_for is None
    assert hits(dump(world.url)) == []
    assert world.count("SELECT count(*) FROM archived_payload") == 9
    for found in await _bodies(world):
        assert HANDLE.encode() not in found
    assert await world.assets.keys(key_of(CONTENT)) == []
    assert HANDLE not in done.reason
    # What is others' stays.
    assert world.count("SELECT count(*) FROM instagram_account") == 1
    assert world.count(f"SELECT count(*) FROM instagram_account WHERE profile_id = '{OTHER_ID}' AND followers = 7") == 1
    assert world.count("SELECT count(*) FROM instagram_comment") == 1
    assert world.count("SELECT count(*) FROM scrape_request_log") == 4
    assert world.count("SELECT count(*) FROM scrape_request_log WHERE params->>'handle' = '[erased]'") == 2
    assert world.count("SELECT count(*) FROM raw_payload WHERE fetch_id = 903") == 1
    assert world.count("SELECT count(*) FROM asset_log") == 1
    assert world.count("SELECT count(*) FROM held_record") == 1
    assert world.count("SELECT count(*) FROM change_log WHERE keys = '{Others-Post}'") == 1
    assert world.count("SELECT count(*) FROM quarantine WHERE resolved_at IS NULL") == 0
    assert done.counts.keys() == dry.counts.keys()


async def _bodies(world: World) -> list[bytes]:
    from beat_actors.payloads.reading import packed
    from beat_actors.pipeline.records import unpack

    return [unpack(await packed(world.database, n)) for n in range(800, 810) if n != 805]


async def test_what_was_erased_is_refused_and_not_written_until_it_is_lifted(world: World) -> None:
    await run(world.database, (await begin(world.database, "instagram", HANDLE, dry_run=False, **SAID)).id)
    for flow, params in (
        ("refresh_profile_by_handle", {"handle": f"@{HANDLE.upper()}"}),
        ("refresh_profile_by_profile_id", {"profile_id": ID}),
        ("refresh_profile_insights", {"user_id": GRAPH}),
    ):
        with pytest.raises(SubjectErased, match="beat erase lift instagram"):
            await accept(world.database, [NewRequest("instagram", flow, params)])
    await accept(world.database, [NewRequest("instagram", "refresh_profile_by_handle", {"handle": OTHER})])
    await accept(world.database, [NewRequest("tiktok", "refresh_tiktok_profiles", {"handle": HANDLE})])
    await _observe(world)
    assert world.count("SELECT count(*) FROM instagram_account") == 2
    assert hits(dump(world.url).replace(f'"handle": "{HANDLE}"', "")) == []
    with pytest.raises(NotFound):
        await lift(world.database, "tiktok", HANDLE, **SAID)
    assert len((await lift(world.database, "instagram", HANDLE, **SAID)).erasures) == 1
    await accept(world.database, [NewRequest("instagram", "refresh_profile_by_profile_id", {"profile_id": ID})])
    await _observe(world)
    assert world.count("SELECT count(*) FROM instagram_account") == 3


async def _observe(world: World) -> None:
    """An answer that has the erased person, somebody else, and somebody who has the name today."""
    entity = platform("instagram").entity_in("instagram_account")
    records = f'[{{"profile_id": "{ID}", "handle": "{HANDLE}"}}, {{"profile_id": "{OTHER_ID}", "handle": "{OTHER}"}}, {{"profile_id": "31", "handle": "new.one"}}]'
    judgements = '[{"trust_score": 10}, {"trust_score": 20}, {"trust_score": 30}]'
    row = Written(1, 1, "", "", datetime.now(UTC), "lama", 1, records, judgements=judgements)
    async with world.database.transaction() as transaction:
        await write_entities(transaction, "instagram", entity, values_of([row], {}), judged=True)
    # What is left out takes nothing of what the gate says of the others.
    scores = f"SELECT count(*) FROM instagram_account WHERE trust_score <> CASE profile_id WHEN '{ID}' THEN 10 WHEN '{OTHER_ID}' THEN 20 ELSE 30 END"
    assert world.count(scores) == 0
    assert world.count("SELECT count(*) FROM instagram_account WHERE trust_score = 20") == 1


@pytest.mark.slow
async def test_an_erasure_that_is_broken_off_goes_on_where_it_stopped(world: World) -> None:
    begun = await begin(world.database, "instagram", HANDLE, dry_run=False, **SAID)
    steps = 0
    while (await one(world.database, begun.id)).ended_at is None:
        # A process that dies in the middle of a step leaves no trace of it.
        task = asyncio.create_task(run(world.database, begun.id, budget=5.0))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await run(world.database, begun.id, budget=0.1)
        steps += 1
        assert steps < 500
    assert hits(dump(world.url)) == []
    counts = (await one(world.database, begun.id)).counts
    assert counts["instagram_post"] == {"deleted": 1, "redacted": 1}


async def test_two_processes_make_each_step_once(world: World) -> None:
    begun = await begin(world.database, "instagram", HANDLE, dry_run=False, **SAID)
    await asyncio.gather(run(world.database, begun.id), run(world.database, begun.id))
    assert hits(dump(world.url)) == []
    assert (await one(world.database, begun.id)).counts["instagram_comment"] == {"deleted": 2, "redacted": 1}


@pytest.mark.slow
async def test_a_row_that_somebody_holds_is_erased_when_it_is_let_go(world: World) -> None:
    with psycopg.connect(world.url) as other:
        other.execute("SELECT FROM trace_log FOR UPDATE")
        begun = await begin(world.database, "instagram", HANDLE, dry_run=False, **SAID)
        for _ in range(100):
            waiting = await run(world.database, begun.id, budget=2.0)
            assert waiting.ended_at is None
            if waiting.waits_for is not None:
                break
        assert waiting.waits_for is not None
    await run(world.database, begun.id)
    assert hits(dump(world.url)) == []


@pytest.mark.slow
async def test_an_open_request_is_cancelled_and_a_call_in_flight_is_awaited(world: World) -> None:
    (accepted,) = await accept(
        world.database, [NewRequest("instagram", "refresh_profile_by_handle", {"handle": HANDLE, "posts": 0})]
    )
    world.admin.execute("UPDATE scrape_fetch SET stage = 'LEASED' WHERE request_id = %s", (accepted.id,))
    begun = await begin(world.database, "instagram", HANDLE, dry_run=False, **SAID)
    for _ in range(100):
        waiting = await run(world.database, begun.id, budget=2.0)
        assert waiting.ended_at is None
        if waiting.waits_for is not None:
            break
    assert "in flight" in (waiting.waits_for or "")
    world.admin.execute("UPDATE scrape_fetch SET stage = 'FAILED' WHERE request_id = %s", (accepted.id,))
    await run(world.database, begun.id)
    assert (
        world.count(f"SELECT count(*) FROM scrape_request_log WHERE id = {accepted.id} AND status = 'CANCELLED'") == 1
    )
    assert hits(dump(world.url)) == []


async def test_the_sweep_goes_on_with_what_the_api_began(world: World) -> None:
    begun = await begin(world.database, "instagram", HANDLE, dry_run=False, **SAID)
    runs = 0
    while (await one(world.database, begun.id)).ended_at is None:
        await running.sweep(world.database)
        runs += 1
        assert runs < 50
    assert (await running.sweep(world.database)).count == 0
    assert hits(dump(world.url)) == []


async def test_somebody_of_whom_no_row_is_left_is_erased_by_his_id(world: World) -> None:
    world.admin.execute("DELETE FROM instagram_account")
    await run(world.database, (await begin(world.database, "instagram", ID, dry_run=False, **SAID)).id)
    assert ID not in dump(world.url)


async def test_a_handle_that_belongs_to_somebody_else_today_erases_nothing_of_him(world: World) -> None:
    world.admin.execute(
        "INSERT INTO instagram_account (profile_id, handle, source, parser_version, request_id, observed_at) "
        "SELECT '4242', handle, 'lama', 1, 1, observed_at - interval '1 day' FROM instagram_account WHERE profile_id = %s",
        (ID,),
    )
    await run(world.database, (await begin(world.database, "instagram", ID, dry_run=False, **SAID)).id)
    assert world.count("SELECT count(*) FROM instagram_account WHERE profile_id = '4242' AND handle = '[erased]'") == 1


async def test_a_store_customer_is_erased(database: Database, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as admin:
        from tests.integration.privacy.canary import insert

        of = {"store": "a.myshopify.com", "source": "shopify"}
        insert(admin, "shopify_customer", customer_id="70012345678", **of)
        insert(admin, "order", platform_order_id="1", customer_id="70012345678", currency="EUR", **of)
        insert(admin, "order", platform_order_id="2", customer_id="5", currency="EUR", **of)
        done = await run(database, (await begin(database, "shopify", "70012345678", dry_run=False, **SAID)).id)
        assert done.counts == {
            "shopify_customer": {"deleted": 1, "redacted": 0},
            "order": {"deleted": 1, "redacted": 0},
        }
    assert "70012345678" not in dump(database_url)
