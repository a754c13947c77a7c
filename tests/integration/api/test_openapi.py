"""The document of the API: valid, whole, and kept when a fuzzer that knows it calls every route of a real server."""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from openapi_spec_validator import validate
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.access import OPEN
from api.app import create_app
from api.openapi import document, page
from beat_actors.access import keys
from beat_actors.access.keys import MOST_CALLS, NewKey
from beat_actors.access.scopes import Scope
from beat_actors.database import Database
from beat_actors.local.home import temporary_home
from beat_actors.settings import Settings
from bench.api import serving
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS, Servers, copy_database
from tests.integration.api.test_access import TABLE

APP = create_app(lambda: pytest.fail("not started"))
DOCUMENT = document(APP.resources)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
schema = schemathesis.openapi.from_dict(DOCUMENT)
pytestmark = pytest.mark.timeout(300)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_it_is_valid_and_has_every_route_once() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")
    assert sorted((method, path) for method, path, _ in operations()) == sorted(TABLE)
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))


def test_it_says_which_scope_each_call_needs() -> None:
    for method, path, operation in operations():
        scope = TABLE[method, path]
        assert (operation.get("security") == []) is (scope == OPEN)
        assert scope == OPEN or f"`{scope}`" in operation["description"]


def test_every_call_says_what_it_does_in_a_sentence() -> None:
    said = [operation["summary"] for _, _, operation in operations()]
    assert [text for text in said if not text.endswith(".") or not text[0].isupper()] == []


def test_it_says_what_a_value_may_be() -> None:
    shapes, paths = DOCUMENT["components"]["schemas"], DOCUMENT["paths"]
    asked = shapes["Submission"]["properties"]
    assert asked["priority"]["enum"] == ["customer", "standard", "batch"]
    assert (asked["max_age"]["minimum"], asked["max_age"]["maximum"]) == (0, 366 * 86_400)
    assert asked["expires_at"]["anyOf"][0] == {"type": "string", "format": "date-time"}
    many = shapes["Submissions"]["properties"]["requests"]
    assert (many["minItems"], many["maxItems"]) == (1, 1000)
    shown = shapes["RequestView"]["properties"]
    assert shown["status"]["enum"] == ["PENDING", "PROCESSING", "COMPLETE", "FAILED", "CANCELLED"]
    assert shown["created_at"]["format"] == "date-time"
    assert shapes["EndpointView"]["properties"]["state"]["enum"] == ["active", "paused", "disabled"]
    query = {one["name"]: one["schema"] for one in paths["/v1/scrape-requests"]["get"]["parameters"]}
    assert query["created_after"]["format"] == "date-time"
    assert query["status"]["enum"] == shown["status"]["enum"]


def test_it_says_how_an_answer_is_told_and_when_to_come_back() -> None:
    post = DOCUMENT["paths"]["/v1/scrape-requests"]["post"]["responses"]
    assert {"application/json", "application/problem+json"} == set(post["400"]["content"])
    assert {"Location", "Retry-After", "Idempotency-Replayed"} <= set(post["202"]["headers"])
    for method, path, operation in operations():
        if TABLE[method, path] != OPEN:
            assert {"Retry-After", "RateLimit-Reset"} <= set(operation["responses"]["429"]["headers"])
            assert "Retry-After" in operation["responses"]["503"]["headers"]


async def test_it_is_served_as_a_document_and_as_a_page(bare: Any) -> None:
    assert (await bare.simulate_get("/openapi.json")).json == DOCUMENT
    read = await bare.simulate_get("/docs")
    assert read.headers["content-type"].startswith("text/html")
    assert "style-src" in read.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in read.headers["content-security-policy"]
    for method, path, operation in operations():
        assert f"<b>{method}</b> <code>{path}</code>" in read.text
        assert operation["operationId"]


def test_the_page_shows_text_as_text() -> None:
    made = {
        "info": {"title": "<script>", "version": "1", "description": "a & b"},
        "paths": {},
        "components": {"schemas": {"<b>": {"description": "<i>"}}},
    }
    assert "<script>" not in page(made)
    assert "<b>" not in page(made)
    assert "<i>" not in page(made)


@pytest.fixture(scope="module")
def server(servers: Servers, template: str) -> Iterator[tuple[str, dict[str, str]]]:
    """A process of the API over a database of its own, and the headers of a key that may do everything."""
    name = f"fuzz_{uuid.uuid4().hex[:10]}"
    url = servers.postgres.url_of(name)
    with psycopg.connect(servers.postgres.url_of("postgres"), autocommit=True) as admin:
        copy_database(admin, name, template)
        configured = Settings(
            environment="rehearsal",  # the tests' server is faster than production lets it be
            database_url=servers.process_url(url),
            redis_url=servers.valkey.url,
            vault_keys=VAULT_KEYS,
            message_keys=MESSAGE_KEYS,
        )
        try:
            with temporary_home() as home, serving(home, configured, "api") as address:
                yield address, {"Authorization": f"Bearer {asyncio.run(a_key(configured))}"}
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def a_key(configured: Settings) -> str:
    database = Database(configured, name="test")
    try:
        async with database.transaction() as transaction:
            new = NewKey("fuzz", (Scope.ADMIN,), rate_limit=MOST_CALLS)
            return (await keys.create(transaction, new, actor="test")).minted.text
    finally:
        await database.close()


@pytest.mark.exhaustive
@schema.parametrize()
@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
def test_no_call_breaks_the_server_or_its_word(case: Any, server: tuple[str, dict[str, str]]) -> None:
    """Good calls and bad ones: no answer is a 5xx that is not described, and each is of the shape that is."""
    address, headers = server
    if case.method == "POST" and "wait" in (case.query or {}):
        case.query["wait"] = 0  # nobody works here, so that it would be the whole minute
    case.call_and_validate(base_url=address, headers=headers, checks=CHECKS, timeout=30)
