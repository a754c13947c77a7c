"""When and from whom each field is known: in the freshness block, and in full with request, fetch, parser and software."""

from datetime import UTC, datetime, timedelta
from typing import Any

from beat_actors.database import Database
from beat_actors.platforms.instagram import InstagramAccount, InstagramPost
from beat_actors.platforms.interface import told
from tests.observing import granted, observe

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
TELLS = told(InstagramAccount, always={"external_url"}, never={"biography"})


async def twice(database: Database) -> tuple[int, int]:
    """The two requests that brought an account: the second source says nothing of its biography."""
    whole = InstagramAccount(
        profile_id="42", handle="creator", biography="about me", external_url="https://x.example", followers=5
    )
    first = await observe(database, "instagram", whole, at=NOON, fetch=1, source="lama")
    later = InstagramAccount(profile_id="42", handle="creator", hidden=("followers",))
    second = await observe(database, "instagram", later, at=NOON + timedelta(days=1), fetch=2, tells=TELLS)
    return first, second


async def test_s8_1_the_freshness_block_names_the_fields_that_are_older(api: Any, database: Database) -> None:
    await twice(database)
    found = (await api.simulate_get("/v1/profiles/instagram/creator")).json
    assert found["dimensions"] == {"profile_id": "42", "handle": "creator", "biography": "about me"}
    assert (found["metrics"], found["hidden"]) == ({}, ["followers"])
    assert found["freshness"]["as_of"] == "2026-02-01T12:00:00Z"
    assert found["freshness"]["fields"] == {"biography": {"as_of": "2026-01-31T12:00:00Z", "source": "lama"}}
    (listed,) = (await api.simulate_get("/v1/profiles/instagram")).json["items"]
    assert (listed["hidden"], list(listed["fields"])) == (["followers"], ["biography"])
    history = (await api.simulate_get("/v1/profiles/instagram/creator/history")).json["snapshots"]
    assert history[0]["hidden"] == ["followers"]
    assert history[0]["dimensions"] == {"handle": "creator", "external_url": None}


async def test_s6_11_provenance_names_the_observation_of_each_field(api: Any, database: Database) -> None:
    first, second = await twice(database)
    found = (await api.simulate_get("/v1/profiles/instagram/@Creator/provenance")).json
    fields = found["fields"]
    assert (found["platform"], found["kind"], found["id"]) == ("instagram", "profiles", "42")
    assert fields["biography"] == {
        "state": "known",
        "value": "about me",
        "observed_at": "2026-01-31T12:00:00Z",
        "request": first,
        "fetch": 1,
        "source": "lama",
        "operation": None,
        "parser_version": 1,
        "software": None,
    }
    assert (fields["handle"]["request"], fields["handle"]["fetch"], fields["handle"]["source"]) == (
        second,
        2,
        "graphapi",
    )
    states = {name: fields[name]["state"] for name in ("external_url", "followers", "category")}
    assert states == {"external_url": "empty", "followers": "hidden", "category": "unknown"}
    assert fields["category"]["source"] is None
    (only,) = (await api.simulate_get("/v1/profiles/instagram/42/provenance?field=biography")).json["fields"]
    assert only == "biography"
    assert (await api.simulate_get("/v1/profiles/instagram/42/provenance?field=age")).status_code == 400
    assert (await api.simulate_get("/v1/profiles/instagram/nobody/provenance")).status_code == 404


async def test_s6_11_posts_have_a_provenance_too(api: Any, database: Database) -> None:
    await observe(database, "instagram", InstagramPost(shortcode="SC0001", likes=3), at=NOON, fetch=7)
    fields = (await api.simulate_get("/v1/posts/instagram/SC0001/provenance")).json["fields"]
    assert (fields["likes"]["value"], fields["likes"]["fetch"]) == (3, 7)


async def test_s8_1_of_two_rows_each_field_is_of_the_newer_observation_that_tells_it(
    api: Any, database: Database
) -> None:
    """The row of an owner's credential was observed last; the public row knows a biography, and its owner's row that there is no link."""
    await granted(database, "acme", "instagram", "shop")
    public = InstagramAccount(profile_id="42", handle="creator", biography="about me", external_url="https://x.example")
    await observe(database, "instagram", public, at=NOON, fetch=1, source="lama")
    own = InstagramAccount(profile_id="42", handle="creator", followers=5)
    await observe(database, "instagram", own, at=NOON + timedelta(days=1), fetch=2, owner="shop", tells=TELLS)
    found = (await api.simulate_get("/v1/profiles/instagram/creator")).json
    assert found["dimensions"] == {"profile_id": "42", "handle": "creator", "biography": "about me"}
    assert found["freshness"]["fields"]["biography"]["source"] == "lama"
