"""Cursors are input: whatever somebody makes of one, the answer is a page or a problem of the caller's, on every route that takes one."""

import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from beat_actors.platforms.shopify.entities import ShopifyStore
from tests.extent import cases
from tests.integration.api.test_data import CREATOR, NOON, insight, post
from tests.observing import observe

pytestmark = pytest.mark.slow

KNOWN = {
    "profiles": ("instagram", "creator"),
    "posts": ("instagram", "SC0001"),
    "stores": ("shopify", "shop.myshopify.com"),
}
"""Something that is there, of each of these kinds; of other kinds a 404 comes first."""
DAY = "2030-01-31T12:00:00Z"
NUMBERS = st.one_of(st.integers(), st.sampled_from([-1, 0, 1, 2**31, 2**63 - 1, 2**63, 2**64, 10**30]))
TEXTS = st.one_of(
    st.text(max_size=30), st.sampled_from(["\0", "", "0", "9" * 20, "9" * 5000, "-1", "\N{SUPERSCRIPT TWO}", "1\n"])
)
TIMES = st.sampled_from(
    [
        DAY,
        "2030-01-31T12:00:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59.999999-14:00",
        "0001-01-01T00:00:00Z",
    ]
)
PARTS = st.one_of(NUMBERS, TEXTS, TIMES, st.none(), st.booleans(), st.floats(), st.lists(st.integers(), max_size=2))
SHAPED = st.one_of(
    st.tuples(NUMBERS),
    st.tuples(st.one_of(TIMES, st.none()), TEXTS),
    st.tuples(TIMES, NUMBERS, NUMBERS),
    st.tuples(st.one_of(TEXTS, NUMBERS.map(str)), NUMBERS, NUMBERS, TIMES),
    st.lists(PARTS, max_size=5),
)


def written(position: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


FORGED = st.one_of(
    SHAPED.map(written), st.text(max_size=60), st.binary(max_size=40).map(lambda b: base64.b64encode(b).decode())
)


def paging(api: Any) -> list[tuple[str, str]]:
    """Every path that takes a cursor, and the name of its parameter."""
    found = []
    for template, resource in api.app.resources.items():
        query = resource.calls["GET"].query if "GET" in resource.calls else {}
        kind = template.removeprefix("/v1/").partition("/")[0]
        platform, name = KNOWN.get(kind, ("instagram", "nobody"))
        path = template.replace("{platform}", platform).replace("{name}", name).replace("{webhook_id}", "1")
        found += [(path, "cursor")] if "cursor" in query else []
        found += [(path, "since")] if template == "/v1/changes" else []
    return found


@pytest.fixture
async def routes(api: Any, database: Any) -> list[tuple[str, str]]:
    """All of them, with something to list behind some."""
    await observe(database, "instagram", CREATOR)
    await observe(database, "instagram", *(post(n, NOON) for n in range(3)))
    await observe(database, "instagram", insight("reach", "DE", 1))
    await observe(database, "shopify", ShopifyStore(store="shop.myshopify.com"))
    assert (await api.simulate_post("/v1/webhooks", json={"url": "https://example.com/"})).status_code == 201
    return paging(api)


def test_every_list_that_goes_on_is_among_them(routes) -> None:
    assert {path for path, _ in routes} >= {
        "/v1/scrape-requests",
        "/v1/changes",
        "/v1/webhooks/1/deliveries",
        "/v1/profiles/instagram/creator/posts",
        "/v1/profiles/instagram/creator/history",
        "/v1/profiles/instagram/creator/insights/history",
        "/v1/stores/shopify/shop.myshopify.com/orders",
    }


@pytest.mark.scaled
@given(forged=FORGED)
@example(forged=written([DAY, "\0"]))
@example(forged=written([None, "\0"]))
@example(forged=written([DAY, 1, -1]))
@example(forged=written([DAY, 1, 2**63]))
@example(forged=written([2**63]))
@example(forged=written([-1]))
@example(forged=written(["9" * 5000, 0, 0, DAY]))
@example(forged=written(["0", 2**63, 0, DAY]))
@example(forged="A" * 5000)
@hypothesis_settings(max_examples=cases(15, 100), deadline=None, suppress_health_check=list(HealthCheck))
async def test_a_forged_cursor_is_a_problem_of_the_callers_on_every_route(api, routes, forged: str) -> None:
    for path, name in routes:
        answer = await api.simulate_get(path, params={name: forged})
        assert answer.status_code in (200, 202, 400, 404, 410), (path, forged, answer.text)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "position"),
    [
        ("/v1/profiles/instagram/creator/posts", [DAY, "\0"]),
        ("/v1/profiles/instagram/creator/posts", [DAY[:-1], "SC"]),
        ("/v1/profiles/instagram/creator/history", [DAY, 1, -1]),
        ("/v1/profiles/instagram/creator/history", [DAY, 2**63, 0]),
        ("/v1/webhooks/1/deliveries", [2**63]),
        ("/v1/scrape-requests", [-1]),
        ("/v1/changes", ["9" * 5000, 0, 0, DAY]),
        ("/v1/changes", [2**63, 0, DAY, DAY]),
        ("/v1/changes", [-1, 0, DAY, DAY]),
    ],
)
async def test_a_cursor_beyond_what_is_stored_is_refused_by_its_name(api, routes, path: str, position: Any) -> None:
    name = dict(routes)[path]
    answer = await api.simulate_get(path, params={name: written(position)})
    assert (answer.status_code, answer.json["field"]) == (400, name)


async def test_no_parameter_of_a_list_reaches_the_database_unchecked(api, routes) -> None:
    """NUL, which PostgreSQL does not hold, in every parameter of every list."""
    for template, resource in api.app.resources.items():
        if "GET" not in resource.calls:
            continue
        for name in resource.calls["GET"].query:
            path = template.replace("{platform}", "instagram").replace("{name}", "creator").replace("{webhook_id}", "1")
            answer = await api.simulate_get(path, query_string=f"{name}=%00")
            assert answer.status_code in (400, 404), (path, name, answer.text)
