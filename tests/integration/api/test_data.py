"""What is known, read through the API: by key and by name, in lists, as history; who may see it, and that any platform has its routes."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import msgspec
import psycopg
import pytest

from beat_actors.access.reader import Sees
from beat_actors.access.scopes import Scope
from beat_actors.data import changes, cursors, listing
from beat_actors.data.changes import OfTransaction, Position
from beat_actors.database import Database
from beat_actors.platforms.instagram import (
    InstagramAccount,
    InstagramComment,
    InstagramFollow,
    InstagramPost,
    InstagramPostInsight,
    InstagramProfileInsight,
    InstagramStory,
)
from beat_actors.platforms.interface import Entity, Listed, Record
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.platforms.shopify.entities import ShopifyOrder, ShopifyStore
from beat_actors.platforms.youtube.entities import YouTubeAccount
from tests.conftest import Servers
from tests.in_one import in_one
from tests.integration.api.conftest import app_over, bearer
from tests.integration.api.promised import Promised
from tests.observing import age, granted, observe, observe_in, rows
from tests.worlds import TOY, open_transaction, registered, restored_into_a_younger_cluster

CREATOR = InstagramAccount(profile_id="42", handle="creator", graph_id="1784", full_name="A Creator", followers=1200)
NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)


def post(n: int, taken_at: datetime | None) -> InstagramPost:
    return InstagramPost(shortcode=f"SC{n:04d}", post_id=f"9{n:04d}", profile_id="42", taken_at=taken_at, likes=n)


def insight(metric: str, country: str, value: int, profile_id: str = "1784") -> InstagramProfileInsight:
    return InstagramProfileInsight(
        insight_id=f"{profile_id}|{metric}|{country}",
        profile_id=profile_id,
        metric=metric,
        breakdown="country",
        dimension=country,
        value=value,
    )


async def walk(api: Any, path: str, part: str, limit: int, **params: Any) -> list[dict[str, Any]]:
    """All pages."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    for _ in range(100):
        page = (
            await api.simulate_get(path, params=params | {"limit": limit} | ({"cursor": cursor} if cursor else {}))
        ).json
        assert len(page[part]) <= limit
        found += page[part]
        cursor = page["next_cursor"]
        if cursor is None:
            return found
    raise AssertionError("the pages do not end")


@pytest.mark.parametrize("name", ["creator", "@Creator", "42", "1784"])
async def test_a_profile_is_found_by_its_handle_and_by_each_of_its_ids(api, database: Database, name: str) -> None:
    await observe(database, "instagram", CREATOR)
    found = (await api.simulate_get(f"/v1/profiles/instagram/{name}")).json
    assert (found["platform"], found["kind"], found["id"]) == ("instagram", "profiles", "42")
    assert found["dimensions"] == {
        "profile_id": "42",
        "handle": "creator",
        "graph_id": "1784",
        "full_name": "A Creator",
    }
    assert found["metrics"] == {"followers": 1200}
    freshness = found["freshness"]
    assert (freshness["mode"], freshness["source"], freshness["why"]) == ("fresh", "graphapi", None)
    assert found["changed_at"] == freshness["as_of"]


@pytest.mark.parametrize("name", ["caf\u00e9", "@Cafe\u0301", "CAFE\u0301"])
async def test_a_name_is_found_in_whichever_form_its_letters_are_composed(api, database: Database, name: str) -> None:
    await observe(database, "youtube", YouTubeAccount(profile_id="UC" + "x" * 22, handle="caf\u00e9"))
    assert (await api.simulate_get(f"/v1/profiles/youtube/{quote(name)}")).json["id"] == "UC" + "x" * 22


async def test_a_handle_belongs_to_whom_it_was_seen_with_last_and_an_id_to_one_alone(api, database: Database) -> None:
    await observe(database, "instagram", CREATOR)
    await observe(database, "instagram", InstagramAccount(profile_id="43", handle="creator"))
    await observe(database, "instagram", InstagramAccount(profile_id="44", handle="42"))
    for name, wanted in (("creator", "43"), ("42", "42"), ("@42", "44")):
        assert (await api.simulate_get(f"/v1/profiles/instagram/{name}")).json["id"] == wanted


async def test_posts_stories_and_orders_are_found_by_what_they_are_called(api, database: Database) -> None:
    await observe(database, "instagram", post(1, NOON), InstagramPost(shortcode="sc0001"))
    await observe(database, "instagram", InstagramStory(story_id="7", graph_id="1790", profile_id="42"))
    await observe(database, "shopify", ShopifyStore(store="shop.myshopify.com"))
    order = ShopifyOrder(
        platform_order_id="5001",
        store="shop.myshopify.com",
        currency="EUR",
        total_price=Decimal("19.90"),
        created_at=NOON,
        updated_at=NOON,
    )
    await observe(database, "shopify", order)
    for path, wanted in (
        ("/v1/posts/instagram/SC0001", "SC0001"),
        ("/v1/posts/instagram/sc0001", "sc0001"),
        ("/v1/posts/instagram/90001", "SC0001"),
        ("/v1/stories/instagram/1790", "7"),
        ("/v1/orders/shopify/5001", "5001"),
    ):
        assert (await api.simulate_get(path)).json["id"] == wanted
    (listed,) = (await api.simulate_get("/v1/stores/shopify/shop.myshopify.com/orders")).json["items"]
    assert listed["metrics"] == {"total_price": "19.90"}
    assert (await api.simulate_get("/v1/orders/shopify/5001/history")).status_code == 404  # none is kept


async def test_a_list_has_each_thing_once_newest_first_and_what_has_no_time_before_them(
    api, database: Database
) -> None:
    await observe(database, "instagram", CREATOR)
    dated = [post(n, NOON - timedelta(hours=n // 2)) for n in range(23)]  # two of each time
    await observe(database, "instagram", *dated, *(post(n, None) for n in range(50, 55)))
    await observe(database, "instagram", InstagramPost(shortcode="OTHER", profile_id="43", taken_at=NOON))
    for limit in (1, 2, 4, 100):
        listed = await walk(api, "/v1/profiles/instagram/creator/posts", "items", limit)
        names = [item["id"] for item in listed]
        assert names[:5] == [f"SC{n:04d}" for n in range(54, 49, -1)]
        by_time = sorted(dated, key=lambda one: (one.taken_at, one.shortcode), reverse=True)
        assert names[5:] == [one.shortcode for one in by_time]


async def test_what_has_no_time_at_all_is_listed_by_its_key(api, database: Database) -> None:
    await observe(database, "instagram", CREATOR)
    follows = [InstagramFollow(follow_id=f"{n}:42", follower_id=str(n), followed_id="42") for n in range(10, 20)]
    await observe(database, "instagram", *follows, InstagramFollow(follow_id="42:7", follower_id="42", followed_id="7"))
    followers = await walk(api, "/v1/profiles/instagram/creator/followers", "items", 3)
    assert [one["dimensions"]["follower_id"] for one in followers] == [str(n) for n in range(19, 9, -1)]
    (following,) = await walk(api, "/v1/profiles/instagram/creator/following", "items", 3)
    assert following["dimensions"]["followed_id"] == "7"


async def test_the_newest_of_a_list_can_be_read_along(api, database: Database) -> None:
    await observe(database, "instagram", CREATOR)
    await observe(database, "instagram", *(post(n, NOON + timedelta(hours=n)) for n in range(5)))
    found = (await api.simulate_get("/v1/profiles/instagram/creator?posts=2&stories=3")).json
    assert [one["id"] for one in found["posts"]] == ["SC0004", "SC0003"]
    assert found["stories"] == []
    assert found["freshness"]["mode"] == "fresh"
    await age(database, 90_000, "instagram_post")
    part = (await api.simulate_get("/v1/profiles/instagram/creator?posts=2")).json
    assert part["freshness"]["mode"] == "partial"
    assert part["freshness"]["as_of"] == part["posts"][0]["as_of"]


async def test_comments_are_listed_under_their_post(api, database: Database) -> None:
    await observe(database, "instagram", post(1, NOON))
    await observe(database, "instagram", InstagramComment(comment_id="1", shortcode="SC0001", text="hello"))
    (comment,) = (await api.simulate_get("/v1/posts/instagram/90001/comments")).json["items"]
    assert comment["dimensions"]["text"] == "hello"


async def test_history_has_each_snapshot_once_newest_first(api, database: Database) -> None:
    for followers in range(7):
        await observe(database, "instagram", replace_followers(followers), fetch=followers)
    for limit in (1, 3, 100):
        shown = await walk(api, "/v1/profiles/instagram/@creator/history", "snapshots", limit)
        assert [one["metrics"]["followers"] for one in shown] == list(range(6, -1, -1))
    times = [one["as_of"] for one in shown]
    between = await walk(api, "/v1/profiles/instagram/42/history", "snapshots", 2, since=times[4], until=times[1])
    assert [one["as_of"] for one in between] == times[2:5]


def replace_followers(followers: int) -> InstagramAccount:
    return InstagramAccount(profile_id="42", handle="creator", graph_id="1784", followers=followers)


async def test_history_of_insights_has_every_number_of_an_answer_though_all_have_one_time(
    api, database: Database
) -> None:
    await observe(database, "instagram", CREATOR)
    for run in (1, 2):
        numbers = [insight("reach", f"C{n:02d}", run * 100 + n) for n in range(25)]
        await observe(database, "instagram", *numbers, fetch=run)
    listed = await walk(api, "/v1/profiles/instagram/creator/insights", "items", 10)
    assert sorted(one["metrics"]["value"] for one in listed) == list(range(200, 225))
    for limit in (7, 25, 30, 1000):
        shown = await walk(api, "/v1/profiles/instagram/creator/insights/history", "snapshots", limit)
        assert sorted(one["metrics"]["value"] for one in shown) == [*range(100, 125), *range(200, 225)]
        assert {one["metrics"]["value"] // 100 for one in shown[:25]} == {2}
    assert (await api.simulate_get("/v1/profiles/instagram/creator/posts/history")).status_code == 404


async def test_insights_of_posts_and_stories_have_one_shape(api, database: Database) -> None:
    await observe(database, "instagram", msgspec.structs.replace(post(1, NOON), graph_id="1789"))
    await observe(database, "instagram", post(1, NOON), source="lama")  # which does not tell the Graph API's id
    await observe(database, "instagram", InstagramStory(story_id="7", graph_id="1790"))
    assert await rows(database, "SELECT post_id, graph_id FROM instagram_post") == [("90001", "1789")]
    await observe(
        database,
        "instagram",
        InstagramPostInsight(insight_id="a", post_id="1789", metric="reach", value=5),
        InstagramPostInsight(insight_id="b", post_id="1790", metric="replies", value=6),
    )
    for path, value in (("posts/instagram/SC0001", 5), ("stories/instagram/7", 6)):
        (one,) = (await api.simulate_get(f"/v1/{path}/insights")).json["items"]
        assert one["metrics"] == {"value": value}


async def test_an_answer_that_is_known_already_is_not_sent_again(api, database: Database) -> None:
    await observe(database, "instagram", CREATOR)
    path = "/v1/profiles/instagram/creator"
    first = await api.simulate_get(path)
    again = await api.simulate_get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    await observe(database, "instagram", replace_followers(5))
    changed = await api.simulate_get(path, headers={"If-None-Match": first.headers["etag"]})
    assert changed.json["metrics"] == {"followers": 5}


async def test_one_account_does_not_see_what_another_asked_for(bare, database: Database, new_key) -> None:
    """Least of all insights, which are an owner's."""
    await granted(database, "zeta", "instagram", "1784")
    await observe(database, "instagram", CREATOR, account_id="acme")
    await observe(database, "instagram", CREATOR, account_id="zeta")
    await observe(database, "instagram", post(1, NOON), account_id="zeta")
    await observe(database, "instagram", insight("reach", "DE", 1), account_id="zeta", owner="1784")
    await observe(database, "instagram", InstagramComment(comment_id="1", shortcode="SC0001"), account_id="zeta")
    acme, zeta = [bearer(await new_key(Scope.READ, account_id=name)) for name in ("acme", "zeta")]
    profile = "/v1/profiles/instagram/creator"
    for path in (f"{profile}/posts", f"{profile}/insights"):
        seen = [len((await bare.simulate_get(path, headers=who)).json["items"]) for who in (acme, zeta)]
        assert seen == [0, 1]
    along = (await bare.simulate_get(f"{profile}?posts=5&insights=5", headers=acme)).json
    assert (along["posts"], along["insights"]) == ([], [])
    assert (await bare.simulate_get(f"{profile}/insights/history", headers=acme)).json["snapshots"] == []
    for path in ("/v1/posts/instagram/SC0001", "/v1/comments/instagram/1", "/v1/posts/instagram/SC0001/comments"):
        assert (await bare.simulate_get(path, headers=acme)).status_code == 404
        assert (await bare.simulate_get(path, headers=zeta)).status_code == 200
    shown = (await bare.simulate_get(f"{profile}/history", headers=acme)).json["snapshots"]
    assert len(shown) == 1
    told = (await bare.simulate_get("/v1/changes", headers=acme)).json["changes"]
    assert [(one["kind"], one["id"]) for one in told] == [("profiles", "42")]


async def test_what_an_account_brought_it_keeps_whoever_brings_it_later(bare, database: Database, new_key) -> None:
    """Of what no log is kept too: another's refresh of the same takes nothing away, and gives nothing to who never asked."""
    store = ShopifyStore(store="shop.myshopify.com")
    order = ShopifyOrder(
        platform_order_id="5001", store=store.store, currency="EUR", total_price=Decimal("19.90"), updated_at=NOON
    )
    things = (
        ("instagram", InstagramComment(comment_id="1", shortcode="SC0001"), None),
        ("shopify", store, store.store),
        ("shopify", order, store.store),
    )
    for account in ("acme", "zeta", "other"):
        await granted(database, account, "shopify", store.store)
    for account in ("acme", "zeta", None):
        for platform, thing, owner in things:
            await observe(database, platform, thing, account_id=account, owner=owner)
    seen = {name: bearer(await new_key(Scope.READ, account_id=name)) for name in ("acme", "zeta", "other")}
    for path in ("/v1/comments/instagram/1", "/v1/stores/shopify/shop.myshopify.com", "/v1/orders/shopify/5001"):
        for name, status in (("acme", 200), ("zeta", 200), ("other", 404)):
            assert (await bare.simulate_get(path, headers=seen[name])).status_code == status
    orders = (await bare.simulate_get("/v1/stores/shopify/shop.myshopify.com/orders", headers=seen["acme"])).json
    assert [one["id"] for one in orders["items"]] == ["5001"]


async def test_an_account_is_informed_of_changes_that_its_own_requests_observed(
    bare, database: Database, new_key
) -> None:
    acme = bearer(await new_key(Scope.READ, account_id="acme"))

    async def told(since: str | None = None) -> tuple[list[tuple[str, int | None]], str]:
        page = (await bare.simulate_get("/v1/changes", params={"since": since} if since else {}, headers=acme)).json
        return [(one["id"], one["request_id"]) for one in page["changes"]], page["next_cursor"]

    await observe(database, "instagram", CREATOR)
    await observe(database, "instagram", post(1, NOON), account_id="zeta")
    found, cursor = await told()
    assert found == []
    # It is logged already, and not changed by this; but it is new to this account.
    mine = await observe(database, "instagram", CREATOR, account_id="acme")
    found, cursor = await told(cursor)
    assert found == [("42", mine)]
    await observe(database, "instagram", CREATOR, account_id="acme")
    found, cursor = await told(cursor)
    assert found == []
    everything = (await bare.simulate_get("/v1/changes", headers=bearer(await new_key(Scope.READ)))).json["changes"]
    assert [one["id"] for one in everything] == ["42", "SC0001", "42"]  # nothing changed a second time
    await observe(database, "instagram", replace_followers(7), account_id="zeta")
    await observe(database, "instagram", replace_followers(8))
    assert (await told(cursor))[0] == []
    profile = (await bare.simulate_get("/v1/profiles/instagram/creator", headers=acme)).json
    assert profile["metrics"] == {"followers": 1200}
    mine = await observe(database, "instagram", replace_followers(9), account_id="acme")
    assert (await told(cursor))[0] == [("42", mine)]


async def test_the_feed_goes_on_from_its_end_also_where_nothing_happened_since(api, database) -> None:
    """The cursor is at the last place of the log, which is not ahead of it."""
    await observe(database, "instagram", CREATOR)
    cursor = (await api.simulate_get("/v1/changes")).json["next_cursor"]
    for _ in range(3):
        page = await api.simulate_get("/v1/changes", params={"since": cursor})
        assert (page.status_code, page.json["changes"]) == (200, [])
        cursor = page.json["next_cursor"]
    await observe(database, "instagram", CREATOR)
    page = await api.simulate_get("/v1/changes", params={"since": cursor})
    assert page.status_code == 200


async def test_the_feed_goes_on_in_a_younger_cluster_and_refuses_cursors_of_what_was_lost(
    api, database, database_url: str
) -> None:
    await observe(database, "instagram", CREATOR)
    first = (await api.simulate_get("/v1/changes", params={"limit": 1})).json
    mine = [await observe(database, "instagram", replace_followers(n)) for n in (7, 8)]
    page = (await api.simulate_get("/v1/changes", params={"since": first["next_cursor"]})).json
    assert [one["request_id"] for one in page["changes"]] == mine
    place = cursors.read(page["next_cursor"], Position)
    # The dump is from before the second change, which is lost with its place, and with the number of it.
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("DELETE FROM event WHERE id = (SELECT id FROM event_log WHERE seq = %s)", (place.seq,))
        admin.execute("DELETE FROM event_log WHERE seq = %s", (place.seq,))
        admin.execute("UPDATE event_sequence SET seq = seq - 1")
    restored_into_a_younger_cluster(database_url)
    await database.connections.close()
    refused = await api.simulate_get("/v1/changes", params={"since": page["next_cursor"]})
    assert (refused.status_code, "lost with a database" in refused.text) == (410, True)  # it is ahead of the log
    new = await observe(database, "instagram", replace_followers(9))
    told = (await api.simulate_get("/v1/changes")).json
    assert [one["request_id"] for one in told["changes"]][1:] == [mine[0], new]
    assert told["changes"][0] == first["changes"][0]
    refused = await api.simulate_get("/v1/changes", params={"since": page["next_cursor"]})
    assert (refused.status_code, "lost with a database" in refused.text) == (410, True)  # its place has another event
    known = (await api.simulate_get("/v1/changes", params={"since": first["next_cursor"]})).json
    assert [one["request_id"] for one in known["changes"]] == [mine[0], new]
    again = await api.simulate_get("/v1/changes", params={"since": told["next_cursor"]})
    assert (again.status_code, again.json["changes"]) == (200, [])


async def test_a_change_that_commits_late_is_in_the_feed_behind_those_that_did_not_wait(api, database) -> None:
    async with database.transaction() as slow:
        late = await observe_in(slow, "instagram", CREATOR)
        early = await observe(database, "instagram", post(1, NOON))
        page = (await api.simulate_get("/v1/changes")).json
        assert [one["request_id"] for one in page["changes"]] == [early]
    page = (await api.simulate_get("/v1/changes", params={"since": page["next_cursor"]})).json
    assert [one["request_id"] for one in page["changes"]] == [late]


async def test_the_feed_goes_past_places_whose_events_are_kept_no_more(api, database, monkeypatch) -> None:
    monkeypatch.setattr(changes, "SCANNED", 2)
    made = [await observe(database, "instagram", replace_followers(n)) for n in range(4)]
    await api.simulate_get("/v1/changes")  # gives them their places
    async with database.transaction() as transaction:
        await transaction.run("DELETE FROM event WHERE id IN (SELECT id FROM event ORDER BY id LIMIT 3)")
    page = (await api.simulate_get("/v1/changes")).json
    assert (page["changes"], page["more"]) == ([], True)
    page = (await api.simulate_get("/v1/changes", params={"since": page["next_cursor"]})).json
    assert [one["request_id"] for one in page["changes"]] == made[3:]


@pytest.mark.parametrize("prepared", [False, True], ids=["session", "prepared"])
@pytest.mark.parametrize("place", ["this", "another"])
async def test_an_open_transaction_of_others_delays_no_change(
    api, database, servers: Servers, database_url: str, place: str, prepared: bool
) -> None:
    url = servers.postgres.url_of("postgres") if place == "another" else database_url
    with open_transaction(url, prepared=prepared):
        cursor, told = None, []
        made = []
        for n in range(3):
            made.append(await observe(database, "instagram", replace_followers(n)))
            page = (await api.simulate_get("/v1/changes", params={"since": cursor} if cursor else {})).json
            told += [one["request_id"] for one in page["changes"]]
            cursor = page["next_cursor"]
        assert told == made


async def test_a_cursor_of_the_form_before_goes_on_where_nothing_can_be_missing(
    api, database, database_url: str
) -> None:
    """It names a transaction, so the feed begins some time before it was given: changes may come again, and none is missing."""
    for n in (1, 2):
        await observe(database, "instagram", replace_followers(n))
    whole = (await api.simulate_get("/v1/changes")).json["changes"]
    now = datetime.now(UTC)
    too_old, of_before = (cursors.write(OfTransaction("7", 0, 0, at)) for at in (now - timedelta(hours=2), now))
    refused = await api.simulate_get("/v1/changes", params={"since": too_old})
    assert refused.status_code == 410  # the log is younger than what the cursor may be behind
    page = (await api.simulate_get("/v1/changes", params={"since": of_before})).json
    assert page["changes"] == whole
    assert isinstance(cursors.read(page["next_cursor"], Position), Position)


@in_one(
    ("path", "status", "said"),
    [
        ("/v1/profiles/instagram/nobody", 404, "nothing is known of 'nobody'"),
        ("/v1/profiles/myspace/creator", 400, "there is no platform"),
        ("/v1/orders/instagram/1", 404, "instagram keeps no orders"),
        ("/v1/profiles/tiktok/creator/stories", 404, "tiktok keeps no stories of profiles"),
        ("/v1/profiles/instagram/creator?max_age=-1", 400, "max_age"),
        ("/v1/profiles/instagram/creator?allow_stale=perhaps", 400, "allow_stale"),
        ("/v1/profiles/instagram/creator?posts=201", 400, "posts"),
        ("/v1/profiles/instagram/creator/posts?limit=0", 400, "limit"),
        ("/v1/profiles/instagram/creator/posts?cursor=bm9uc2Vuc2U", 400, "cursor"),
        ("/v1/profiles/instagram/creator/followers?cursor=WyIyMDMwLTAxLTMxVDEyOjAwOjAwWiIsIngiXQ", 400, "cursor"),
        ("/v1/profiles/instagram/creator/history?cursor=%F0%9F%8C%8D", 400, "cursor"),
        ("/v1/profiles/instagram/creator/history?since=yesterday", 400, "since"),
        ("/v1/profiles/instagram/creator%00", 400, "U+0000"),
        ("/v1/changes?kind=wishes", 400, "kind is one of"),
        ("/v1/changes?since=WzEsMiwzXQ", 400, "since"),
        ("/v1/changes?platform=myspace", 400, "there is no platform"),
    ],
)
async def test_what_cannot_be_answered_gets_a_sentence(api, database, path: str, status: int, said: str) -> None:
    await observe(database, "instagram", CREATOR)
    answer = await api.simulate_get(path)
    assert answer.status_code == status
    assert said in answer.json["detail"]


async def test_s10_7_platforms_are_data_with_their_flows_operations_and_entities(api) -> None:
    listed = {one["name"]: one for one in (await api.simulate_get("/v1/platforms")).json["platforms"]}
    assert {"instagram", "shopify", "tiktok", "youtube"} <= set(listed)
    tiktok = (await api.simulate_get("/v1/platforms/tiktok")).json
    assert tiktok == listed["tiktok"]
    assert tiktok["operations"]["profile_by_handle"] == ["tikwm", "api23"]
    flow = tiktok["flows"][0]
    assert (flow["name"], flow["params"]["required"]) == ("refresh_tiktok_profiles", ["handle"])
    assert flow["params"]["properties"]["posts"] == {"type": "integer", "minimum": 0, "maximum": 2000, "default": 12}
    instagram = listed["instagram"]
    assert instagram["on_demand"] == "refresh_profile_by_handle"
    profiles = next(one for one in instagram["entities"] if one["kind"] == "profiles")
    assert (profiles["key"], profiles["names"], profiles["history"]) == ("profile_id", ["handle", "graph_id"], True)
    assert profiles["lists"]["insights"] == "profile-insights"
    for platform in listed.values():
        for entity in platform["entities"]:
            assert (await api.simulate_get(f"/v1/{entity['kind']}/{platform['name']}/none")).status_code == 404


class Shed(Record, frozen=True, kw_only=True):
    shed_id: str
    name: str | None = None
    size: int | None = None


class Tool(Record, frozen=True, kw_only=True):
    tool_id: str
    shed_id: str


SHEDS = replace(
    TOY,
    entities=(
        Entity(Shed, "sheds", "toy_shed", None, "shed_id", frozenset({"size"}), names=("name",)),
        Entity(Tool, "tools", "toy_tool", None, "tool_id", frozenset(), lists=(Listed("sheds", "shed_id"),)),
    ),
)
OBSERVED = "account_id text NOT NULL, owner text NOT NULL, source text, parser_version integer, request_id bigint, observed_at timestamptz, changed_at timestamptz, "
OBSERVED += "observed_fetch bigint, build_id integer, empty text[], hidden text[], older jsonb"


async def test_a_new_platform_has_its_routes_by_being_there(settings, wake_ups, new_key, database: Database) -> None:
    for table in (
        "toy_shed (shed_id text, PRIMARY KEY (shed_id, account_id, owner), name text, size bigint",
        "toy_tool (tool_id text, PRIMARY KEY (tool_id, account_id, owner), shed_id text",
    ):
        with psycopg.connect(settings.owner_url, autocommit=True) as owner:
            owner.execute(f"CREATE TABLE {table}, {OBSERVED})")
    with registered(SHEDS):
        await observe(database, "toy", Shed(shed_id="1", name="big", size=3))
        await observe(database, "toy", Tool(tool_id="saw", shed_id="1"))
        headers = bearer(await new_key(Scope.READ))
        async with Promised(app_over(settings, wake_ups), headers=headers) as api:
            assert (await api.simulate_get("/v1/sheds/toy/BIG")).json["metrics"] == {"size": 3}
            assert (await api.simulate_get("/v1/sheds/toy/1/tools")).json["items"][0]["id"] == "saw"
            told = (await api.simulate_get("/v1/changes?platform=toy")).json["changes"]
            assert [(one["kind"], one["id"]) for one in told] == [("sheds", "1"), ("tools", "saw")]
            listed = (await api.simulate_get("/v1/platforms/toy")).json
            assert [one["lists"] for one in listed["entities"]] == [{"tools": "tools"}, {}]


async def test_all_that_is_known_of_a_kind_is_listed_once_each_by_cursor(api, database: Database) -> None:
    for n in (3, 1, 2):
        await observe(database, "instagram", InstagramAccount(profile_id=f"4{n}", handle=f"creator_{n}", followers=n))
    await observe(
        database, "instagram", InstagramAccount(profile_id="41", handle="creator_1", followers=11), account_id="acme"
    )
    found = await walk(api, "/v1/profiles/instagram", "items", 2)
    assert [(one["id"], one["metrics"]["followers"]) for one in found] == [("41", 11), ("42", 2), ("43", 3)]
    assert found[0]["dimensions"]["handle"] == "creator_1"
    assert (await api.simulate_get("/v1/profiles/nosuch")).status_code == 400
    assert (await api.simulate_get("/v1/stories/shopify")).status_code == 404
    wrong = await api.simulate_get("/v1/profiles/instagram?cursor=x")
    assert (wrong.status_code, wrong.json["field"]) == (400, "cursor")


async def test_an_account_lists_what_its_own_requests_brought(settings, wake_ups, new_key, database: Database) -> None:
    for n in range(5):
        account = "acme" if n % 2 else "other"
        await observe(database, "instagram", InstagramAccount(profile_id=f"4{n}", handle=f"c{n}"), account_id=account)
    key = await new_key(Scope.READ, account_id="acme")
    async with Promised(app_over(settings, wake_ups), headers=bearer(key)) as reader:
        assert [one["id"] for one in await walk(reader, "/v1/profiles/instagram", "items", 1)] == ["41", "43"]


async def test_a_later_page_of_a_kind_reads_nothing_before_its_cursor(database: Database) -> None:
    """Also where many things stand before it: each scan of the table begins at the cursor, or looks up one key."""
    instagram = platform_named("instagram")
    async with database.transaction() as transaction:
        await transaction.run(
            "INSERT INTO instagram_account (profile_id, handle, followers, source, parser_version, request_id, observed_at) "
            "SELECT n::text, n::text, n, 's', 1, 1, now() FROM generate_series(1, 50000) n"
        )
        await transaction.run("ANALYZE instagram_account")
        sql = listing._page("instagram", instagram.entity_named("profiles"), Sees.ALL, True).text
        values = {"key": "5", "limit": 51, "account": None}
        found = await transaction.rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", values)

    def scans(plan: dict[str, Any]) -> Iterator[float]:
        if "Index Name" in plan:
            yield plan["Actual Rows"] * plan["Actual Loops"]
        for part in plan.get("Plans", ()):
            yield from scans(part)

    assert max(scans(found[0][0][0]["Plan"])) < 1000
