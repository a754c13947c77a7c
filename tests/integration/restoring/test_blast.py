"""Whom a bad deploy has reached: exactly its entities, their fields, since when, and who was sent them."""

from datetime import timedelta

import msgspec

from beat_actors.database import Database
from beat_actors.restoring.blast import blast
from beat_actors.restoring.selection import Selection
from tests.events import sequence_all
from tests.integration.restoring.worlds import BUGGY, GOOD, World, corrupted, profile
from tests.observing import rows

DELIVER = """
WITH hook AS (INSERT INTO webhook_endpoint (url, account_id, events, key_id, secret) VALUES ('https://hooks.example.com', 'acme', '{*}', 'k', 's') RETURNING id)
INSERT INTO webhook_delivery (endpoint_id, event_id, type, data, occurred_at, next_at, expires_at, state)
SELECT hook.id, e.event_id, e.type, e.data, e.at, clock_timestamp(), clock_timestamp(), 'delivered' FROM event e, hook WHERE e.type = 'beat.data.changed'
"""


async def test_s8_5_blast_lists_exactly_the_entities_of_a_deploy_with_their_fields_and_their_times(
    world: World, database: Database
) -> None:
    selection = await world.bug(60, again=10, new=4)
    before = await world.bits()
    found = await blast(database, selection)
    assert (found.entities, found.observations) == (64, 64)
    (kind,) = found.kinds
    assert (kind.platform, kind.kind, kind.compared, kind.wrong, kind.restorable) == (
        "instagram",
        "profiles",
        64,
        64,
        True,
    )
    fields = {one.field: one.entities for one in kind.fields}
    # Ten were observed well since, in the field followers.
    assert (fields["followers"], fields["biography"], fields["category"], fields["full_name"]) == (54, 64, 64, 4)
    assert kind.first_at == world.start + timedelta(hours=24)
    assert kind.last_at == world.start + timedelta(hours=25, milliseconds=3)
    example = next(one for one in kind.examples if one.field == "biography")
    assert (example.key, example.now, example.without) == ("000000", "words of 1 ☕", "words of 0 ☕")
    (part,) = found.parts
    assert (part.source, part.parser_version, part.observations) == ("lama", BUGGY, 64)
    assert await world.bits() == before


async def test_s8_5_a_selection_by_fetch_source_handle_or_time_finds_what_it_says_and_no_more(
    world: World, database: Database
) -> None:
    await world.bug(30)
    (fetch,) = await rows(
        database, "SELECT fetch_id FROM profile_log WHERE profile_id = '000007' AND parser_version = %s", (BUGGY,)
    )
    since = world.start - timedelta(hours=1)
    for selection, wanted in (
        (Selection(since=since, fetch=fetch[0]), 1),
        (Selection(since=since, platform="instagram", handle="@Creator_000007", parser_version=BUGGY), 1),
        (Selection(since=since, source="arraybobo"), 0),
        (Selection(since=since, source="lama", platform="instagram", kind="profiles"), 50),
        (Selection(since=since, until=world.start + timedelta(hours=1)), 30),
        (Selection(since=since, platform="tiktok"), 0),
    ):
        assert (await blast(database, selection)).entities == wanted, selection


async def test_s8_5_consumers_that_were_sent_the_changes_are_named(world: World, database: Database) -> None:
    await world.observe([profile(n) for n in range(5)], GOOD, 0)
    await world.observe([corrupted(n) for n in range(5)], BUGGY, 24, good=False)
    async with database.transaction() as transaction:
        await transaction.run(DELIVER)
        await transaction.run("INSERT INTO event_sink (name, scheme, seq) VALUES ('bus', 'test', 1000000)")
    await sequence_all(database)
    found = await blast(database, Selection(since=world.start, parser_version=BUGGY))
    assert found.events == 5
    assert {(one.what, one.account_id, one.events, one.pending) for one in found.consumers} == {
        ("webhook", "acme", 5, 0),
        ("sink", None, 5, 0),
    }


async def test_excluded_observations_are_selected_no_more(world: World, database: Database) -> None:
    from tests.integration.restoring.test_restore import restored

    selection = await world.bug(10)
    await restored(database, selection, apply=True)
    assert (await blast(database, selection)).entities == 0


async def test_kinds_without_a_log_are_counted_and_named_as_not_restorable(world: World, database: Database) -> None:
    from beat_actors.platforms.instagram.entities import InstagramComment
    from tests.observing import observe

    await observe(database, "instagram", InstagramComment(comment_id="1", shortcode="a", text="x"))
    found = await blast(database, Selection(since=world.start))
    (kind,) = found.kinds
    assert (kind.kind, kind.entities, kind.restorable) == ("comments", 1, False)
    assert msgspec.json.encode(found)
