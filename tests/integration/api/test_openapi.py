"""The document of the API: valid and whole. `test_fuzz` has a fuzzer that knows it call every route."""

import re
from collections.abc import Iterator
from typing import Any

import falcon.asgi
import pytest
from openapi_spec_validator import validate

from api import openapi
from api.access import OPEN, PUBLIC
from api.app import create_app
from api.examples import PARAMETERS, SCHEMAS
from api.naming import TAGS
from api.openapi import document
from beat_actors.access.scopes import Scope
from beat_actors.data import catalog
from tests.integration.api.promised import promises_of
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
    shown = {(method, path) for method, path in TABLE if not APP.resources[path].calls[method].hidden}
    assert {(method, path) for method, path, _ in operations()} == shown
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))


def test_it_says_which_scope_each_call_needs() -> None:
    for method, path, operation in operations():
        scope = TABLE[method, path]
        assert (operation.get("security") == []) is (scope == OPEN)
        assert scope == OPEN or f"`{Scope.READ if scope == PUBLIC else scope}`" in operation["description"]


def test_every_call_says_what_it_does_in_a_sentence() -> None:
    said = [operation["summary"] for _, _, operation in operations()]
    assert [text for text in said if not text.endswith(".") or not text[0].isupper()] == []


def test_it_says_what_a_value_may_be() -> None:
    shapes, paths = DOCUMENT["components"]["schemas"], DOCUMENT["paths"]
    asked = shapes["Submission"]["properties"]
    assert asked["priority"]["enum"] == ["customer", "standard", "batch"]
    assert (asked["max_age"]["minimum"], asked["max_age"]["maximum"]) == (0, 366 * 86_400)
    assert asked["expires_at"]["anyOf"][0] == {"type": "string", "format": "date-time"}
    many = shapes["SubmissionList"]["properties"]["requests"]
    assert (many["minItems"], many["maxItems"]) == (1, 1000)
    shown = shapes["RequestView"]["properties"]
    assert shown["status"]["enum"] == ["PENDING", "PROCESSING", "COMPLETE", "FAILED", "CANCELLED"]
    assert shown["created_at"]["format"] == "date-time"
    assert shapes["EndpointView"]["properties"]["state"]["enum"] == ["active", "paused", "disabled"]
    query = {one["name"]: one["schema"] for one in paths["/v1/scrape-requests"]["get"]["parameters"]}
    assert query["created_after"]["format"] == "date-time"
    assert query["status"]["enum"] == shown["status"]["enum"]


def test_it_says_how_an_answer_is_given_and_when_to_come_back() -> None:
    post = DOCUMENT["paths"]["/v1/scrape-requests"]["post"]["responses"]
    assert {"application/json", "application/problem+json"} == set(post["400"]["content"])
    assert {"Location", "Retry-After", "Idempotency-Replayed"} <= set(post["202"]["headers"])
    for method, path, operation in operations():
        if TABLE[method, path] != OPEN:
            assert {"Retry-After", "RateLimit-Reset"} <= set(operation["responses"]["429"]["headers"])
            assert "Retry-After" in operation["responses"]["503"]["headers"]


def test_names_of_schemas_and_operations_are_fit_for_generated_code() -> None:
    names = [*DOCUMENT["components"]["schemas"], *(operation["operationId"] for _, _, operation in operations())]
    assert [name for name in names if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)] == []
    made = {operation["operationId"] for _, _, operation in operations()}
    assert {"create_scrape_request", "list_scrape_requests", "cancel_scrape_request", "get_profile"} <= made
    assert {"list_profile_posts", "change_credential", "resend_failed_deliveries", "get_health"} <= made
    assert {"create_batch", "get_batch", "get_profile_provenance", "get_forecast", "list_parked_events"} <= made
    assert [name for name in made if re.search(r"(batche|statuse|ie)(_|$)", name)] == []


def test_no_description_is_shown_as_code() -> None:
    """Markdown takes a line that begins with four spaces for code."""
    shapes = {name: shape.get("description", "") for name, shape in DOCUMENT["components"]["schemas"].items()}
    assert sum("\n" in text for text in shapes.values()) > 20
    assert [name for name, text in shapes.items() if re.search(r"^(    |\t)", text, re.MULTILINE)] == []


def test_tags_come_in_the_order_of_use_and_every_operation_has_one() -> None:
    tags = [tag["name"] for tag in DOCUMENT["tags"]]
    assert tags[0] == "Requests"
    assert tags[-2:] == ["Health", "Documentation"]
    assert all(tag["description"] for tag in DOCUMENT["tags"])
    assert [one["tags"] for _, _, one in operations() if not set(one["tags"]) <= set(tags)] == []
    assert tags == [tag.name for tag in TAGS if tag.name in tags]


def test_every_parameter_is_described_and_every_body_has_an_example_that_fits() -> None:
    lists = {name for kind in catalog.kinds() for name in catalog.lists_of(kind)}
    for method, path, operation in operations():
        for one in operation["parameters"]:
            assert one["description"], (method, path, one["name"])
            assert one["in"] == "header" or one["name"] in {*PARAMETERS, *lists, "tags"}, (method, path, one["name"])
        for content in operation.get("requestBody", {}).get("content", {}).values():
            shapes = content["schema"].get("anyOf", [content["schema"]])
            assert {shape["$ref"].rpartition("/")[2] for shape in shapes} <= set(SCHEMAS), (method, path)
        assert [one for one in operation["responses"].values() if one["description"] in ("", "Done")] == []
    promised = promises_of(APP)
    for name, example in SCHEMAS.items():
        assert list(promised.validator(f"#/components/schemas/{name}").iter_errors(example)) == [], name


def test_a_list_says_that_its_smallest_limit_is_one() -> None:
    for _, _, operation in operations():
        for one in operation["parameters"]:
            if one["name"] == "limit":
                assert one["schema"]["minimum"] == 1, operation["operationId"]


async def test_what_needs_no_key_is_made_once_however_often_it_is_asked_for(monkeypatch: Any) -> None:
    made: list[str] = []
    real = openapi.document
    monkeypatch.setattr(openapi, "document", lambda given: made.append("document") or real(given))
    resource = openapi.Document(APP.resources)
    answers = [falcon.asgi.Response() for _ in range(3)]
    for answer in answers:
        await resource.on_get(None, answer)  # type: ignore[arg-type]
    assert len({id(answer.data) for answer in answers}) == 1
    assert made == ["document"]
