"""The document of the API is kept when a fuzzer that knows it calls every route of a real server.

The fuzzer works out its calls when this module is collected, for some seconds in each process, so `make test` leaves the module out.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from api.openapi import document
from tests.conftest import Servers
from tests.integration.api.live import live_api

DOCUMENT = document(create_app(lambda: pytest.fail("not started")).resources)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
schema = schemathesis.openapi.from_dict(DOCUMENT)
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def server(servers: Servers, template: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a process of the API, and the headers of a key that may do everything."""
    with live_api(servers, template) as (address, key):
        yield address, {"Authorization": f"Bearer {key}"}


@pytest.mark.exhaustive
@schema.parametrize()
@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
def test_no_call_breaks_the_server_or_its_word(case: Any, server: tuple[str, dict[str, str]]) -> None:
    """Good calls and bad ones: no answer is a 5xx that is not described, and each is of the shape that is."""
    address, headers = server
    if case.method == "POST" and "wait" in (case.query or {}):
        case.query["wait"] = 0  # nobody works here, so that it would be the whole minute
    case.call_and_validate(base_url=address, headers=headers, checks=CHECKS, timeout=30)
