"""/schemas and /asyncapi.json: what events contain, for callers without a key."""

from typing import Any

import pytest

from beat_actors.events.catalog import EVENTS
from beat_actors.events.schemas import schemas
from tests.in_one import in_one


async def test_every_schema_is_listed_and_served(bare: Any) -> None:
    listed = (await bare.simulate_get("/schemas")).json["schemas"]
    assert [(one["type"], one["major"]) for one in listed] == list(schemas())
    assert {one["type"] for one in listed if one["current"]} == set(EVENTS)
    for one in listed:
        found = await bare.simulate_get(one["location"])
        assert (found.status_code, found.json) == (200, schemas()[one["type"], one["major"]])
        assert found.json["$id"] == one["location"]


@pytest.mark.parametrize("path", ["/schemas", "/schemas/beat.batch.ended/1", "/asyncapi.json"])
async def test_the_answers_are_cacheable(bare: Any, path: str) -> None:
    found = await bare.simulate_get(path)
    assert found.status_code == 200
    assert found.headers["content-type"] == "application/json"
    assert "max-age" in found.headers["cache-control"]
    again = await bare.simulate_get(path, headers={"If-None-Match": found.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@in_one("path", ["beat.batch.ended/2", "beat.batch.ended/01", "beat.batch.ended/x", "beat.x/1", "x/1"])
async def test_an_unknown_schema_is_a_404_with_a_hint(bare: Any, path: str) -> None:
    found = await bare.simulate_get(f"/schemas/{path}")
    assert (found.status_code, found.json["type"]) == (404, "urn:beat:problem:not_found")
    assert "/schemas" in found.json["detail"]


async def test_the_asyncapi_document_is_that_of_this_version(bare: Any) -> None:
    found = (await bare.simulate_get("/asyncapi.json")).json
    openapi = (await bare.simulate_get("/openapi.json")).json
    assert found["asyncapi"] == "3.1.0"
    assert found["info"]["version"] == openapi["info"]["version"]
    assert {"/schemas", "/schemas/{event_type}/{major}", "/asyncapi.json"} <= openapi["paths"].keys()
