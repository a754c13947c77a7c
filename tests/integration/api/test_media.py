"""Media fields of answers: Beat's URL where the picture is stored or can be fetched, and the provider's URL beside it."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import falcon.testing
import pytest

from beat_actors.access.scopes import Scope
from beat_actors.database import Database
from beat_actors.media.urls import identity
from beat_actors.platforms.instagram import InstagramAccount, InstagramPost
from beat_actors.settings import Settings
from tests.integration.api.conftest import app_over, bearer
from tests.integration.api.promised import Promised
from tests.observing import granted, observe, rows

NOW = datetime.now(UTC).replace(microsecond=0)
EXPIRES = NOW + timedelta(days=4)
CONTENT = bytes(range(32))
KEY = f"00/01/{CONTENT.hex()}"
Over = Callable[..., AsyncIterator[falcon.testing.ASGIConductor]]


def picture(name: str = "1_2_3_n.jpg", host: str = "scontent-lhr8-1") -> str:
    return f"https://{host}.cdninstagram.com/v/t51.2885-19/{name}?oh=00_A&oe={int(EXPIRES.timestamp()):X}"


def account(url: str | None, key: str = "42") -> InstagramAccount:
    return InstagramAccount(profile_id=key, handle=f"creator{key}", profile_pic_url=url)


async def put(database: Database, **values: object) -> None:
    columns = ", ".join(f"{name} = %s" for name in values)
    await rows(database, f"UPDATE asset_log SET {columns} RETURNING 1", list(values.values()))


async def stored(database: Database) -> None:
    await put(database, status="COMPLETE", content=CONTENT, content_identity=identity(picture()))


async def path(database: Database) -> str:
    ((public_id,),) = await rows(database, "SELECT public_id FROM asset_log")
    return f"/assets/{public_id}"


@pytest.fixture
def over(settings: Settings, wake_ups: Any, new_key: Any) -> Any:
    """An API with settings, called with a key that may do everything, or with another one."""

    def made(*scopes: Scope, account_id: str | None = None, **values: object) -> Any:
        class Opened:
            async def __aenter__(self) -> Any:
                key = await new_key(*(scopes or (Scope.ADMIN,)), account_id=account_id, rate_limit=100_000)
                configured = settings.model_copy(update={"asset_bucket": "beat-media", **values})
                self.conductor = Promised(app_over(configured, wake_ups), headers=bearer(key))
                return await self.conductor.__aenter__()

            async def __aexit__(self, *error: Any) -> None:
                await self.conductor.__aexit__(*error)

        return Opened()

    return made


ONE = "/v1/profiles/instagram/42"


async def test_without_a_bucket_answers_have_the_urls_of_providers(api: Any, database: Database) -> None:
    await observe(database, "instagram", account(picture()))
    await stored(database)
    found = (await api.simulate_get(ONE)).json
    assert found["dimensions"]["profile_pic_url"] == picture()
    assert "media" not in found


async def test_s7_3_a_stored_picture_is_answered_with_our_url(over: Any, database: Database) -> None:
    await observe(database, "instagram", account(picture()))
    await stored(database)
    async with over(asset_base_url="https://media.example/beat/", public_url="https://beat.example/") as api:
        found = (await api.simulate_get(ONE)).json
    assert found["dimensions"]["profile_pic_url"] == f"https://media.example/beat/{KEY}"
    assert found["media"] == {
        "profile_pic_url": {
            "source_url": picture(),
            "expires_at": EXPIRES.isoformat().replace("+00:00", "Z"),
            "asset": f"https://beat.example{await path(database)}",
            "status": "COMPLETE",
        }
    }


async def test_s7_3_without_a_cdn_our_url_is_the_path_that_serves_the_picture(over: Any, database: Database) -> None:
    await observe(database, "instagram", account(picture()))
    await stored(database)
    async with over() as api:
        found = (await api.simulate_get(ONE)).json
    assert found["dimensions"]["profile_pic_url"] == f"{await path(database)}?v={CONTENT.hex()[:16]}"


@pytest.mark.parametrize("status", ["PENDING", "WAITING", "PROCESSING", "REFETCH", "EXPIRED"])
async def test_s7_3_a_picture_that_is_not_stored_yet_is_answered_with_the_path_that_fetches_it(
    over: Any, database: Database, status: str
) -> None:
    await observe(database, "instagram", account(picture()))
    # What is stored is the picture before.
    await put(database, status=status, content=CONTENT, content_identity=identity(picture("9_2_3_n.jpg")))
    async with over(asset_base_url="https://media.example") as api:
        found = (await api.simulate_get(ONE)).json
    assert found["dimensions"]["profile_pic_url"] == await path(database)
    assert found["media"]["profile_pic_url"]["status"] == status


@pytest.mark.parametrize("status", ["FAILED", "GONE"])
async def test_what_we_cannot_serve_keeps_the_url_of_the_provider(over: Any, database: Database, status: str) -> None:
    await observe(database, "instagram", account(picture()))
    await put(database, status=status)
    async with over(asset_base_url="https://media.example") as api:
        found = (await api.simulate_get(ONE)).json
    assert found["dimensions"]["profile_pic_url"] == picture()
    assert found["media"]["profile_pic_url"]["status"] == status


async def test_a_field_without_an_asset_keeps_the_url_of_the_provider(over: Any, database: Database) -> None:
    await observe(database, "instagram", account(picture()))
    await observe(database, "instagram", account(None, "43"))
    await rows(database, "DELETE FROM asset_log RETURNING 1")
    async with over(asset_base_url="https://media.example") as api:
        found = (await api.simulate_get(ONE)).json
        none = (await api.simulate_get("/v1/profiles/instagram/43")).json
    assert found["dimensions"]["profile_pic_url"] == picture()
    assert found["media"]["profile_pic_url"] == {
        "source_url": picture(), "expires_at": EXPIRES.isoformat().replace("+00:00", "Z"), "asset": None, "status": None,
    }  # fmt: skip
    assert none["media"] == {}


async def test_the_url_of_another_picture_than_the_one_that_is_shown_is_not_given(
    over: Any, database: Database
) -> None:
    """An account reads its own observation; the asset has a newer one of another account."""
    await observe(database, "instagram", account(picture()), account_id="acme", at=NOW - timedelta(hours=2))
    await observe(database, "instagram", account(picture("9_2_3_n.jpg")), account_id="other", at=NOW)
    async with over(Scope.READ, account_id="acme", asset_base_url="https://media.example") as api:
        found = (await api.simulate_get(ONE)).json
        assert found["dimensions"]["profile_pic_url"] == picture()
        await stored(database)
        found = (await api.simulate_get(ONE)).json
        assert found["dimensions"]["profile_pic_url"] == f"https://media.example/{KEY}"


async def test_lists_and_pages_have_links_in_one_statement(over: Any, database: Database) -> None:
    await observe(database, "instagram", account(None))
    posts = [
        InstagramPost(shortcode=f"SC{n}", profile_id="42", thumbnail_url=picture(f"{n}_2_3_n.jpg")) for n in range(30)
    ]
    await observe(database, "instagram", *posts)
    await put(database, status="COMPLETE", content=CONTENT)
    await rows(database, "UPDATE asset_log SET content_identity = identity RETURNING 1")
    ours = f"https://media.example/{KEY}"
    async with over(asset_base_url="https://media.example") as api:
        listed = (await api.simulate_get(f"{ONE}/posts")).json["items"]
        paged = (await api.simulate_get("/v1/posts/instagram", params={"limit": 30})).json["items"]
        along = (await api.simulate_get(ONE, params={"posts": 30})).json["posts"]
    for items in (listed, paged, along):
        assert [item["dimensions"]["thumbnail_url"] for item in items] == [ours] * 30
        assert {item["media"]["thumbnail_url"]["source_url"] for item in items} == {
            post.thumbnail_url for post in posts
        }


async def test_an_owners_asset_is_linked_for_those_who_may_see_the_owner(over: Any, database: Database) -> None:
    await observe(database, "instagram", account(picture()), account_id="acme", owner="shop")
    await stored(database)
    await granted(database, "acme", "instagram", "shop")
    async with over(Scope.READ, account_id="acme", asset_base_url="https://media.example") as api:
        assert (await api.simulate_get(ONE)).json["dimensions"]["profile_pic_url"] == f"https://media.example/{KEY}"
    await observe(database, "instagram", account(picture(host="scontent-fra3-2")), account_id="other")
    await rows(database, "DELETE FROM asset_log WHERE owner = '' RETURNING 1")
    async with over(Scope.READ, account_id="other", asset_base_url="https://media.example") as api:
        found = (await api.simulate_get(ONE)).json
        assert found["dimensions"]["profile_pic_url"] == picture(host="scontent-fra3-2")
