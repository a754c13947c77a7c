"""The document of the API: valid and whole. `test_fuzz` has a fuzzer that knows it call every route."""

from collections.abc import Iterator
from typing import Any

import falcon.asgi
import pytest
from openapi_spec_validator import validate

from api import openapi
from api.access import OPEN
from api.app import create_app
from api.openapi import document, page
from tests.integration.api.test_access import TABLE

APP = create_app(lambda: pytest.fail("not started"))
DOCUMENT = document(APP.resources)


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


async def test_what_needs_no_key_is_made_once_however_often_it_is_asked_for(bare: Any, monkeypatch: Any) -> None:
    made: list[str] = []
    for name in ("document", "page"):
        real = getattr(openapi, name)
        monkeypatch.setattr(openapi, name, lambda given, name=name, real=real: made.append(name) or real(given))
    for path in ("/openapi.json", "/docs"):
        resource = bare.app.resources[path]
        answers = [falcon.asgi.Response() for _ in range(3)]
        for answer in answers:
            await resource.on_get(None, answer)
        assert len({id(answer.data) for answer in answers}) == 1
    assert sorted(made) == ["document", "page"]


def test_the_page_shows_text_as_text() -> None:
    made = {
        "info": {"title": "<script>", "version": "1", "description": "a & b"},
        "paths": {},
        "components": {"schemas": {"<b>": {"description": "<i>"}}},
    }
    assert "<script>" not in page(made)
    assert "<b>" not in page(made)
    assert "<i>" not in page(made)
