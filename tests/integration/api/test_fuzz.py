"""The document of the API is kept when a fuzzer that knows it calls every route of a real server.

The fuzzer works out its calls when this module is collected, for some seconds in each process, so `make test` leaves the module out.
"""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
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
from beat_actors.access import keys
from beat_actors.access.keys import MOST_CALLS, NewKey
from beat_actors.access.scopes import Scope
from beat_actors.database import Database
from beat_actors.local.home import temporary_home
from beat_actors.settings import Settings
from bench.api import serving
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS, Servers
from tests.databases import copy_database

DOCUMENT = document(create_app(lambda: pytest.fail("not started")).resources)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
schema = schemathesis.openapi.from_dict(DOCUMENT)
pytestmark = pytest.mark.timeout(300)


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
