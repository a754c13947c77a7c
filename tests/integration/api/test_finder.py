"""Many readers at once: each gets what it asked for and may see, however few statements bring it."""

import asyncio

import psycopg
import pytest

from beat_actors.access.reader import OPERATOR, Reader
from beat_actors.data.finder import MOST_TOGETHER, Finder
from beat_actors.data.reading import Asked
from beat_actors.database import Database
from beat_actors.errors import StorageTooSlow, StorageUnavailable
from beat_actors.platforms.instagram import InstagramAccount, InstagramPost, platform
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.platforms.shopify.entities import ShopifyStore
from tests.observing import observe

ACCOUNTS, POSTS = platform.entity_named("profiles"), platform.entity_named("posts")
SHOPIFY = platform_named("shopify")
STORES = SHOPIFY.entity_named("stores")


@pytest.fixture
async def finder(database: Database):
    finder = Finder(database)
    yield finder
    await finder.close()


async def test_each_reader_gets_its_own_answer_in_few_statements(
    finder: Finder, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [InstagramAccount(profile_id=str(n), handle=f"creator_{n}", followers=n) for n in range(300)]
    await observe(database, "instagram", *people)
    await observe(database, "instagram", InstagramPost(shortcode="creator_7", profile_id="7", likes=1))
    await observe(database, "shopify", ShopifyStore(store="creator_7.myshopify.com", name="Seven"))
    opened = 0
    statements = database.statements

    def counted():
        nonlocal opened
        opened += 1
        return statements()

    monkeypatch.setattr(database, "statements", counted)
    asked = [Asked(platform, ACCOUNTS, f"@Creator_{n}" if n % 2 else str(n)) for n in range(300)]
    asked += [
        Asked(platform, POSTS, "creator_7"),
        Asked(platform, ACCOUNTS, "nobody"),
        Asked(SHOPIFY, STORES, "creator_7.myshopify.com"),
        Asked(platform, ACCOUNTS, "creator_7"),
    ]
    found = await asyncio.gather(*(finder.find(one) for one in asked))
    assert [item.fields["followers"] for item in found[:300] if item] == list(range(300))
    post, nobody, store, again = found[300:]
    assert post is not None
    assert post.fields["shortcode"] == "creator_7"
    assert nobody is None
    assert store is not None
    assert store.fields["name"] == "Seven"
    assert again == found[7] or (again is not None and again.fields["profile_id"] == "7")
    assert opened <= -(-len(asked) // MOST_TOGETHER) + 1


async def test_readers_who_share_a_statement_do_not_share_what_they_may_see(finder: Finder, database: Database) -> None:
    await observe(database, "instagram", InstagramAccount(profile_id="1", handle="acmes"), account_id="acme")
    await observe(database, "instagram", InstagramAccount(profile_id="2", handle="zetas"), account_id="zeta")
    asked = [
        Asked(platform, ACCOUNTS, name, reader)
        for reader in (Reader("acme"), Reader("zeta"), OPERATOR)
        for name in ("acmes", "zetas")
    ]
    found = await asyncio.gather(*(finder.find(one) for one in asked))
    assert [item and item.fields["profile_id"] for item in found] == ["1", None, None, "2", "1", "2"]


async def test_a_reader_who_leaves_takes_nobody_along(finder: Finder, database: Database) -> None:
    await observe(database, "instagram", InstagramAccount(profile_id="1", handle="a"))
    readers = [asyncio.create_task(finder.find(Asked(platform, ACCOUNTS, "a"))) for _ in range(5)]
    await asyncio.sleep(0)
    readers[0].cancel()
    found = await asyncio.gather(*readers, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(not isinstance(item, BaseException) and item is not None for item in found[1:])


async def test_a_database_that_is_away_is_reported_to_each_and_forgotten_when_it_is_back(
    finder: Finder, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away():
        raise StorageUnavailable("PostgreSQL did not answer")

    with monkeypatch.context() as patched:
        patched.setattr(database, "statements", away)
        asked = [finder.find(Asked(platform, ACCOUNTS, "a")) for _ in range(3)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StorageUnavailable] * 3
    assert await finder.find(Asked(platform, ACCOUNTS, "a")) is None


async def test_a_reader_gets_an_answer_in_time_and_others_go_on_with_another_clerk(
    finder: Finder, database: Database, database_url: str
) -> None:
    """Both clerks wait for a table that is locked, more readers wait for them; when it is free, all is as before."""
    await observe(database, "shopify", ShopifyStore(store="a.myshopify.com", name="A"))
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE instagram_account")
        late = [asyncio.create_task(finder.find(Asked(platform, ACCOUNTS, "a"), within=0.4)) for _ in range(3)]
        await asyncio.sleep(0.05)
        late += [asyncio.create_task(finder.find(Asked(platform, ACCOUNTS, "b"), within=0.4)) for _ in range(3)]
        await asyncio.sleep(0.05)
        store = asyncio.create_task(finder.find(Asked(SHOPIFY, STORES, "a.myshopify.com"), within=5.0))
        answers = await asyncio.wait_for(asyncio.gather(*late, return_exceptions=True), 3.0)
        assert [type(answer) for answer in answers] == [StorageTooSlow] * 6
        found = await store
        assert found is not None
    assert await finder.find(Asked(platform, ACCOUNTS, "a")) is None


async def test_while_one_statement_is_slow_other_readers_go_on(
    finder: Finder, database: Database, database_url: str
) -> None:
    await observe(database, "shopify", ShopifyStore(store="a.myshopify.com", name="A"))
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE instagram_account")
        held = asyncio.create_task(finder.find(Asked(platform, ACCOUNTS, "a")))
        await asyncio.sleep(0.05)
        store = await finder.find(Asked(SHOPIFY, STORES, "a.myshopify.com"))
        assert store is not None
        assert not held.done()
    assert await held is None
