"""An installation says how old a value may be that is served: what is older is refreshed, or refused."""

import pytest

from beat_actors.platforms.instagram import InstagramAccount, InstagramPost
from beat_actors.settings import Settings
from tests.integration.api.test_freshness import CREATOR, DAY, PROFILE
from tests.observing import age, observe

LIMIT = 3 * DAY


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(
        update={"served_age": {"instagram.profiles": float(LIMIT), "instagram.posts": float(LIMIT)}}
    )


async def test_what_is_older_than_the_limit_is_refreshed_and_not_served(api, database, wake_ups) -> None:
    await observe(database, "instagram", CREATOR)
    await age(database, 2 * DAY, "instagram_account")
    stale = await api.simulate_get(PROFILE)
    assert (stale.status_code, stale.json["freshness"]["mode"]) == (200, "stale")
    await age(database, 2 * DAY, "instagram_account")
    for query in ("", "?allow_stale=true", f"?max_age={30 * DAY}"):
        answer = await api.simulate_get(PROFILE + query)
        assert answer.status_code == 202, query
        assert "dimensions" not in answer.json
    assert (await api.simulate_get(f"{PROFILE}/history")).status_code == 202


async def test_what_nobody_can_refresh_is_refused_with_the_limit(api, database) -> None:
    nobody = InstagramPost(shortcode="abcdef", profile_id="77", taken_at=None)
    owner = InstagramAccount(profile_id="77", handle="seventy")
    await observe(database, "instagram", owner)
    await observe(database, "instagram", nobody)
    await age(database, 4 * DAY, "instagram_account", "instagram_post")
    answer = await api.simulate_get("/v1/posts/instagram/abcdef")
    assert answer.status_code in (202, 503)
    listed = await api.simulate_get("/v1/profiles/instagram/77/posts")
    assert listed.status_code in (202, 503)
    fresh = await api.simulate_get("/v1/comments/instagram/none")
    assert fresh.status_code == 404
