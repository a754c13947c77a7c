"""Restores over the API, and things as they were at a time."""

from datetime import timedelta
from typing import Any

import falcon.testing
import pytest

from beat_actors.database import Database
from beat_actors.restoring import worker
from tests.integration.restoring.worlds import World


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


async def test_s8_6_a_restore_is_planned_applied_and_undone_over_the_api(
    api: falcon.testing.ASGIConductor, world: World, database: Database
) -> None:
    selection = await world.bug(8)
    assert selection.since is not None
    which = {"since": selection.since.isoformat(), "parser_version": 8}
    blast = await api.simulate_post("/v1/blast", json=which)
    assert (blast.status_code, blast.json["entities"]) == (200, 8)
    made = await api.simulate_post("/v1/restores", json={**which, "reason": "parser 8 is wrong"})
    assert (made.status_code, made.json["state"]) == (202, "COLLECTING")
    path = f"/v1/restores/{made.json['id']}"
    await worker.resume(database)
    plan = (await api.simulate_get(path)).json
    assert (plan["state"], plan["changed"], plan["token"]) == ("PLANNED", 8, None)
    assert (await api.simulate_post(f"{path}/apply", json={"reason": "go on"})).status_code == 202
    await worker.resume(database)
    done = (await api.simulate_get("/v1/restores")).json["restores"][0]
    assert done["state"] == "DONE"
    assert await world.differences() == []
    assert (await api.simulate_post(f"{path}/cancel", json={"reason": "x"})).status_code == 409
    assert (
        await api.simulate_post("/v1/restores/undo", json={"token": done["token"], "reason": "x"})
    ).status_code == 202
    await worker.resume(database)
    assert (await api.simulate_get(path)).json["state"] == "UNDONE"
    audit = (await api.simulate_get("/v1/audit")).json["entries"]
    assert {entry["action"] for entry in audit} >= {"restore.plan", "restore.apply", "restore.undo"}
    assert (await api.simulate_get("/v1/restores/99")).status_code == 404
    assert (await api.simulate_post("/v1/restores", json={"reason": "x"})).status_code == 400


async def test_a_restored_entity_is_in_the_feed_of_changes_without_a_request(
    api: falcon.testing.ASGIConductor, world: World, database: Database
) -> None:
    selection = await world.bug(2)
    assert selection.since is not None
    body = {"since": selection.since.isoformat(), "parser_version": 8, "reason": "x", "apply": True}
    await api.simulate_post("/v1/restores", json=body)
    await worker.resume(database)
    changes: list[dict[str, Any]] = (await api.simulate_get("/v1/changes", params={"limit": 1000})).json["changes"]
    assert [one["id"] for one in changes if one["request_id"] is None] == ["000000", "000001"]


async def test_things_and_lists_are_answered_as_they_were(
    api: falcon.testing.ASGIConductor, world: World, database: Database
) -> None:
    await world.bug(2)
    async with database.transaction() as transaction:
        await transaction.run("UPDATE profile_log SET written_at = observed_at")
    then = {"as_of": (world.start + timedelta(hours=26)).isoformat()}
    first = {"as_of": (world.start + timedelta(hours=1)).isoformat(), "known": "now"}
    one = "/v1/profiles/instagram/creator_000000"
    assert (await api.simulate_get(one, params=then)).json["metrics"]["followers"] == 1_000_000
    found = (await api.simulate_get(one, params=first)).json
    assert (found["metrics"]["followers"], found["dimensions"]["biography"]) == (1000, "words of 0 ☕")
    assert (found["freshness"]["as_of"], found["freshness"]["source"]) == (
        world.start.isoformat().replace("+00:00", "Z"),
        "lama",
    )
    page = (await api.simulate_get("/v1/profiles/instagram", params={**first, "limit": 200})).json
    assert [item["metrics"]["followers"] for item in page["items"]] == [1000, 1007]
    posts = await api.simulate_get(f"{one}/posts", params=then)
    assert (posts.status_code, posts.json["items"]) == (200, [])
    before = {"as_of": (world.start - timedelta(hours=1)).isoformat()}
    assert (await api.simulate_get(one, params=before)).status_code == 404
    assert (await api.simulate_get(one, params={"known": "now"})).status_code == 400
    assert (await api.simulate_get(one, params={**then, "posts": 3})).json["posts"] == []
