"""Queries, paths and methods that nothing declares are refused, and the answer says what exists."""

import re
from datetime import datetime
from typing import get_args

import msgspec
import pytest

from api.app import create_app
from tests.in_one import in_one
from tests.integration.api.test_access import GOOD

RESOURCES = create_app(lambda: pytest.fail("not started")).resources
ROUTE = "/v1/scrape-requests"


@in_one(
    ("path", "field", "said"),
    [
        (f"{ROUTE}?statuss=COMPLETE", "statuss", "this call takes platform, flow, account_id, error"),
        (f"{ROUTE}?status=done", "status", "PENDING, PROCESSING, COMPLETE, FAILED, CANCELLED"),
        (f"{ROUTE}?limit=0", "limit", "from 1 to 200"),
        (f"{ROUTE}?limit=201", "limit", "from 1 to 200"),
        (f"{ROUTE}?limit=%D9%A1", "limit", "a whole number"),
        (f"{ROUTE}?limit=2&limit=3", "limit", "is given 2 times"),
        (f"{ROUTE}?counts=yes", "counts", "true or false"),
        (f"{ROUTE}?created_after=2030-01-01T00:00:00", "created_after", "a time with its zone"),
        (f"{ROUTE}?platform=nosuch", "platform", "there is: instagram, shopify"),
        (f"{ROUTE}?flow=nosuch", "flow", "refresh_profile_by_handle"),
        (f"{ROUTE}?platform=shopify&flow=refresh_profile_by_handle", "flow", "shopify has no flow"),
        ("/v1/flows?platform=nosuch", "platform", "there is: instagram"),
        ("/v1/changes?platform=nosuch", "platform", "there is: instagram"),
        ("/v1/changes?kind=nosuch", "kind", "profiles"),
        ("/v1/grants?platform=nosuch", "platform", "there is: instagram"),
        ("/v1/credentials?source=nosuch", "source", "there is: api23"),
        ("/v1/platforms?limit=1", "limit", "takes no query parameters"),
        ("/v1/profiles/instagram/a?post=3", "post", "posts"),
        ("/v1/webhooks/1/deliveries?state=lost", "state", "pending, delivered, failed"),
        ("/v1/webhooks/one", "webhook_id", "must be a number"),
        (f"{ROUTE}/one", "request_id", "must be a number"),
    ],
)
async def test_a_query_is_held_to_what_the_route_declares(api, path: str, field: str, said: str) -> None:
    answer = await api.simulate_get(path)
    assert answer.status_code == 400, answer.text
    assert answer.json["field"] == field
    assert said in answer.json["detail"]


async def test_a_status_is_taken_in_any_case_as_the_command_line_takes_it(api) -> None:
    made = (await api.simulate_post(ROUTE, json=GOOD)).json["id"]
    for word in ("pending", "PENDING", "Pending"):
        found = (await api.simulate_get(f"{ROUTE}?status={word}")).json["requests"]
        assert [one["id"] for one in found] == [made]
    assert (await api.simulate_post(f"{ROUTE}/retry", json={"status": "cancelled"})).status_code == 202


async def test_a_priority_is_a_word_in_and_out(api) -> None:
    for word in ("customer", "standard", "batch"):
        made = (await api.simulate_post(ROUTE, json=GOOD | {"priority": word, "force": True})).json["id"]
        assert (await api.simulate_get(f"{ROUTE}/{made}")).json["priority"] == word


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/profile/instagram/someone", "/v1/profiles/{platform}/{name}"),
        ("/v1/scrape-request", "/v1/scrape-requests"),
        ("/v2/anything", "routes begin with /v1/"),
        ("/v1/" + "x" * 2000, "GET /openapi.json lists all routes"),
    ],
)
async def test_an_unknown_path_names_the_nearest_routes(api, path: str, said: str) -> None:
    answer = await api.simulate_get(path)
    assert (answer.status_code, answer.json["type"]) == (404, "urn:beat:problem:no_route")
    assert said in answer.json["detail"]
    assert answer.json["title"] == "No such route"


async def test_an_unknown_method_names_those_that_the_route_has(api) -> None:
    answer = await api.simulate_delete(ROUTE)
    assert (answer.status_code, answer.json["type"]) == (405, "urn:beat:problem:no_method")
    assert answer.json["detail"].startswith(f"{ROUTE} does not take DELETE; it takes ")
    assert {"GET", "POST"} <= {word.strip() for word in answer.headers["allow"].split(",")}


async def test_every_declared_bound_is_the_one_that_is_enforced(api) -> None:
    """Each parameter of each GET is refused one beyond its bounds, and not at them for that reason."""
    for path, resource in RESOURCES.items():
        call = resource.calls.get("GET")
        concrete = re.sub(r"{\w+_id}", "1", path).replace("{platform}", "instagram").replace("{name}", "a")
        for name, kind in call.query.items() if call is not None else ():
            bare = get_args(kind)[0] if get_args(kind) else kind
            wrong = {bool: ["1"], datetime: ["now", "2030-01-01"], int: ["-1", "1.5", "x"]}.get(bare, [])
            if bare is int:
                (meta,) = [each for each in get_args(kind) if isinstance(each, msgspec.Meta)]
                wrong += [str(meta.ge - 1), str(meta.le + 1)]
                for good in (meta.ge, meta.le):
                    answer = await api.simulate_get(f"{concrete}?{name}={good}")
                    assert answer.status_code != 400 or answer.json["field"] != name, (path, name, answer.text)
            for text in wrong:
                answer = await api.simulate_get(f"{concrete}?{name}={text}")
                assert (answer.status_code, answer.json["field"]) == (400, name), (path, text, answer.text)


def test_a_whole_number_declares_its_bounds() -> None:
    for path, resource in RESOURCES.items():
        for call in resource.calls.values():
            for name, kind in call.query.items():
                assert kind is not int, (path, name)
