"""Each field of a thing has what the newest observation that tells it says, and knows when that was and who said it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import msgspec
import pytest

from beat_actors.database import Database
from beat_actors.pipeline.judged import Written
from beat_actors.pipeline.writing import values_of, write_entities
from beat_actors.platforms.instagram.entities import ACCOUNT, InstagramAccount
from beat_actors.platforms.instagram.users import PROFILE_TELLS
from beat_actors.platforms.interface import Entity, Record, Told, observed, told
from beat_actors.platforms.shopify.entities import PRODUCT, ShopifyProduct
from tests.extent import cases
from tests.observing import observe, rows

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
TELLS = told(InstagramAccount, always={"biography", "full_name", "external_url"}, never={"category", "graph_id"})
# What three sources tell of an account, and of what they do not speak.
SOURCES = {
    "graphapi": told(InstagramAccount, always={"biography", "external_url"}, never={"category", "is_private"}),
    "lama": TELLS,
    "jotucker": told(InstagramAccount, never={"biography", "full_name"}),
}
PRODUCTS = {
    "shopify": told(ShopifyProduct, always={"vendor", "tags"}),
    "lama": told(ShopifyProduct, always={"vendor"}, never={"tags", "title"}),
    "graphapi": told(ShopifyProduct, never={"vendor"}),
}
SCHEDULES = 125
"""Of each part. All parts of both kinds are 10,000."""
KNOWN = "SELECT biography, empty, hidden, older FROM instagram_account"
ORIGIN = ("at", "source", "request", "fetch")


class Seen(NamedTuple):
    """One record of one answer."""

    at: datetime
    fetch: int
    nth: int
    source: str
    record: Record


class Field(NamedTuple):
    """What is known of a field, and from which observation."""

    value: object
    is_empty: bool
    is_hidden: bool
    origin: tuple[datetime, str, int, int]


def schedule(rng: Random, entity: Entity) -> list[Seen]:
    """Observations of one thing by several sources, some at the same time, and some twice in one answer."""
    sources, make = (SOURCES, account) if entity is ACCOUNT else (PRODUCTS, product)
    seen = []
    for fetch in range(1, rng.randint(2, 9)):
        source, at = rng.choice(list(sources)), NOON + timedelta(seconds=rng.randrange(6))
        of = sources[source][entity.record]
        for nth in range(1, rng.choice([1, 1, 1, 2]) + 1):
            seen.append(Seen(at, fetch, nth, source, observed(make(rng, of), sources[source])))
    return seen


def account(rng: Random, of: Told) -> Record:
    texts = {
        name: rng.choice([None, "", f"{name} {rng.randrange(3)}"])
        for name in ("biography", "full_name", "external_url", "category", "graph_id")
        if name in of.fields
    }
    flags = {"is_private": rng.choice([None, True, False])} if "is_private" in of.fields else {}
    followers = rng.choice([None, 0, 1, 2])
    silent = ("biography",) if "biography" in of.always and rng.random() < 0.2 else ()
    texts |= dict.fromkeys(silent)
    hidden = ("followers",) if followers is None and rng.random() < 0.5 else ()
    return InstagramAccount(
        profile_id="1", handle="a", followers=followers, hidden=hidden, untold=silent, **texts, **flags
    )


def product(rng: Random, of: Told) -> Record:
    texts = {
        name: rng.choice([None, f"{name} {rng.randrange(3)}"])
        for name in ("vendor", "tags", "title")
        if name in of.fields
    }
    variants: Any = rng.choice([None, [], [{"id": "1", "price": "1.50"}]])
    version = NOON + timedelta(days=rng.randrange(2))
    return ShopifyProduct(product_id="1", store="s", updated_at=version, variants=variants, **texts)


def fold(entity: Entity, seen: Sequence[Seen]) -> dict[str, Field]:
    """The observations in the order of their times, each laid over what is known."""
    known: dict[str, Field] = {}
    for one in sorted(seen, key=lambda each: (version(entity, each), each.at, each.fetch, each.nth)):
        for name in entity.fields:
            value, is_empty = msgspec.to_builtins(getattr(one.record, name)), name in one.record.empty
            if value is not None or is_empty:
                origin = (one.at, one.source, one.fetch + 1000, one.fetch)
                known[name] = Field(value, is_empty, name in one.record.hidden, origin)
    return known


def version(entity: Entity, one: Seen) -> datetime:
    found: datetime = getattr(one.record, entity.version) if entity.version else NOON
    return found


async def write(database: Database, entity: Entity, batch: Sequence[Seen]) -> None:
    """Write the answers of these observations together, in the order in which they are given."""
    by_fetch: dict[int, list[Seen]] = {}
    for one in batch:
        by_fetch.setdefault(one.fetch, []).append(one)
    written = [
        Written(
            fetch,
            fetch + 1000,
            "",
            "",
            of[0].at,
            of[0].source,
            1,
            msgspec.json.encode([one.record for one in of]).decode(),
        )
        for fetch, of in by_fetch.items()
    ]
    async with database.transaction() as transaction:
        await write_entities(transaction, "instagram", entity, values_of(written, {}))


async def state(database: Database, entity: Entity) -> dict[str, Field]:
    """What the row says of each field that is known."""
    ((row,),) = await rows(database, f'SELECT to_jsonb(t) FROM "{entity.table}" t')
    own = (datetime.fromisoformat(row["observed_at"]), row["source"], row["request_id"], row["observed_fetch"])
    found = {}
    for name in entity.fields:
        is_empty = name in (row["empty"] or ())
        if row[name] is None and not is_empty:
            assert name not in (row["older"] or {})
            continue
        older = (row["older"] or {}).get(name)
        origin = own if older is None else (datetime.fromisoformat(older["at"]), *(older[each] for each in ORIGIN[1:]))
        found[name] = Field(plain(row[name]), is_empty, name in (row["hidden"] or ()), origin)
    return found


def plain(value: object) -> object:
    """A time as the fold has it."""
    try:
        return msgspec.to_builtins(datetime.fromisoformat(value)) if isinstance(value, str) and "T" in value else value
    except ValueError:
        return value


@pytest.mark.slow
@pytest.mark.scaled
@pytest.mark.parametrize("part", range(cases(1, 40)))
@pytest.mark.parametrize("entity", [ACCOUNT, PRODUCT], ids=["accounts", "products"])
async def test_s8_7_the_row_equals_the_fold_of_all_observations_in_whichever_order_they_come(
    database: Database, entity: Entity, part: int
) -> None:
    """Of each random schedule, observations of several sources arrive in random order and batches. Field by field, the row is the fold by time."""
    differences = []
    for seed in range(part * SCHEDULES, (part + 1) * SCHEDULES):
        rng = Random(seed)
        seen = schedule(rng, entity)
        arriving = list({one.fetch for one in seen})
        rng.shuffle(arriving)
        while arriving:
            together = rng.choice([1, 1, 2, 3])
            batch, arriving = arriving[:together], arriving[together:]
            await write(database, entity, [one for fetch in batch for one in seen if one.fetch == fetch])
        expected, found = fold(entity, seen), await state(database, entity)
        if expected != found:
            differences.append((seed, expected, found))
        await rows(database, f'DELETE FROM "{entity.table}" RETURNING 1')
    assert not differences, (len(differences), differences[0])


async def test_s8_7_a_field_that_is_said_to_be_empty_is_cleared_and_one_that_is_not_spoken_of_stays(
    database: Database,
) -> None:
    whole = InstagramAccount(profile_id="1", handle="a", followers=5, biography="about me", category="artist")
    await observe(database, "instagram", whole, at=NOON, fetch=1)
    silent = InstagramAccount(profile_id="1", handle="a", followers=6)
    await observe(database, "instagram", silent, at=NOON + timedelta(hours=1), fetch=2)
    ((biography, empty, _, older),) = await rows(database, KNOWN)
    assert (biography, empty) == ("about me", None)
    assert set(older) == {"biography", "category"}
    assert older["biography"]["fetch"] == 1
    said = InstagramAccount(profile_id="1", handle="a", followers=7, full_name="A")
    await observe(database, "instagram", said, at=NOON + timedelta(hours=2), fetch=3, tells=TELLS)
    ((biography, empty, _, older),) = await rows(database, KNOWN)
    assert (biography, empty, set(older)) == (None, ["biography", "external_url"], {"category"})
    logged = await rows(database, "SELECT dimensions FROM profile_log ORDER BY observed_at DESC LIMIT 1")
    assert logged[0][0] == {"handle": "a", "full_name": "A", "biography": None, "external_url": None}


async def test_s8_7_a_hidden_count_is_neither_zero_nor_unknown(database: Database) -> None:
    for n, (followers, hidden) in enumerate([(5, ()), (None, ("followers",)), (None, ()), (0, ())]):
        record = InstagramAccount(profile_id="1", handle="a", followers=followers, hidden=hidden)
        await observe(database, "instagram", record, at=NOON + timedelta(hours=n), fetch=n + 1, tells=PROFILE_TELLS)
        found = await rows(database, "SELECT followers, hidden FROM instagram_account")
        assert found == [(5, None), (None, ["followers"]), (None, ["followers"]), (0, None)][n : n + 1]
    logged = await rows(database, "SELECT hidden, metrics ? 'followers' FROM profile_log ORDER BY observed_at")
    assert logged == [(None, True), (["followers"], True), (None, False), (None, True)]


async def test_s8_1_a_change_is_published_where_a_value_is_cleared_and_not_where_nothing_changes(
    database: Database,
) -> None:
    changes = "SELECT count(*) FROM event WHERE type = 'beat.data.changed'"
    for n, biography in enumerate(["about me", None, None]):
        record = InstagramAccount(profile_id="1", handle="a", followers=5, full_name="A", biography=biography)
        await observe(database, "instagram", record, at=NOON + timedelta(hours=n), fetch=n + 1, tells=TELLS)
    assert await rows(database, changes) == [(2,)]


async def test_what_was_held_of_one_answer_and_is_accepted_late_is_told_apart(database: Database) -> None:
    """Each accepted record is an entry of its own, with the fetch of the answer that it is of."""
    newer = [InstagramAccount(profile_id=each, handle=f"h{each}", followers=7) for each in ("1", "2")]
    held = [
        InstagramAccount(profile_id=each, handle=f"h{each}", followers=5, biography=f"of {each}") for each in ("1", "2")
    ]

    def written(fetch: int, at: datetime, record: Record, hold: int | None) -> Written:
        text = msgspec.json.encode([record]).decode()
        return Written(fetch, fetch + 1000, "", "", at, "lama", 1, text, hold)

    first = [written(9, NOON + timedelta(hours=1), one, None) for one in newer]
    second = [written(8, NOON, one, hold) for hold, one in enumerate(held, 41)]
    async with database.transaction() as transaction:
        await write_entities(transaction, "instagram", ACCOUNT, values_of(first, {}), judged=True)
        await write_entities(transaction, "instagram", ACCOUNT, values_of(second, {}), judged=True)
    sql = "SELECT profile_id, followers, biography FROM instagram_account ORDER BY 1"
    assert await rows(database, sql) == [("1", 7, "of 1"), ("2", 7, "of 2")]
    told = (
        "SELECT event_id, data->'keys' FROM event WHERE type = 'beat.data.changed' AND subject = 'scrape_request/1008'"
    )
    events = await rows(database, told)
    assert sorted(keys for _, keys in events) == [["1"], ["2"]]
    assert len({event_id for event_id, _ in events}) == 2
