"""What comes before Falcon: HTTP/1.0, bodies that break off, errors that no handler sees."""

import asyncio
import json
from typing import Any

import falcon.testing
import psycopg
import pytest

from api import deadline
from api.line import Line
from api.services import HEADERS
from beat_actors.access.scopes import Scope
from tests.integration.api.conftest import app_over, bearer

ROUTE = "/v1/scrape-requests"
CHUNK = {"type": "http.request", "body": b'{"platform":', "more_body": True}
GONE = {"type": "http.disconnect"}


def scope(method: str, path: str, headers: dict[str, str], version: str = "1.1") -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": version,
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }


async def called(app: Any, asked: dict[str, Any], *events: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of the answer to what a server hands over."""
    told: list[dict[str, Any]] = []
    coming = iter(events)

    async def receive() -> dict[str, Any]:
        return next(coming)

    async def send(event: dict[str, Any]) -> None:
        told.append(event)

    await app(asked, receive, send)
    headers = {name.decode(): value.decode() for name, value in told[0]["headers"]}
    return told[0]["status"], headers, json.loads(b"".join(event.get("body", b"") for event in told[1:]))


@pytest.mark.parametrize("version", ["1", "1.0", "1.1"])
async def test_every_version_of_http_1_is_answered(bare, version: str) -> None:
    whole = {"type": "http.request", "body": b"", "more_body": False}
    status, headers, body = await called(bare.app, scope("GET", "/healthz", {}, version), whole)
    assert (status, body) == (200, {"status": "ok"})
    assert headers.items() >= {name.lower(): value for name, value in HEADERS.items()}.items()


@pytest.mark.parametrize("events", [[GONE], [CHUNK, GONE]], ids=["at its first chunk", "after it"])
async def test_a_body_that_breaks_off_is_the_callers_problem(bare, new_key, events: Any) -> None:
    """As the server tells of a chunk whose size is no number, and of a caller that is gone."""
    asked = scope("POST", ROUTE, bearer(await new_key(Scope.SUBMIT)) | {"Content-Type": "application/json"})
    status, headers, body = await called(bare.app, asked, *events)
    assert (status, body["type"]) == (400, "urn:beat:problem:body_broken")
    assert headers["content-type"] == "application/problem+json"
    assert headers.items() >= {name.lower(): value for name, value in HEADERS.items()}.items()


async def test_an_error_that_no_handler_sees_is_a_problem_too(bare, monkeypatch) -> None:

    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("what happened stays in the log")

    monkeypatch.setattr(bare.app, "_request_type", broken)
    status, headers, body = await called(bare.app, scope("GET", "/healthz", {}), {"type": "http.request", "body": b""})
    assert (status, body["type"]) == (500, "urn:beat:problem:internal")
    assert "what happened" not in json.dumps(body)
    assert headers["x-content-type-options"] == "nosniff"


async def test_more_calls_than_a_process_can_do_are_refused_and_the_others_are_done(
    settings, wake_ups, new_key, database_url: str, monkeypatch
) -> None:
    """Two are at work and wait for a lock; the others are refused after their time in line. A probe is answered meanwhile."""
    monkeypatch.setattr(deadline, "Line", lambda: Line(2, waits=0.2))
    headers = bearer(await new_key(Scope.SUBMIT))
    async with falcon.testing.ASGIConductor(app_over(settings, wake_ups)) as api:

        async def submit(number: int) -> Any:
            body = {
                "platform": "instagram",
                "flow": "refresh_profile_by_handle",
                "params": {"handle": f"creator_{number:06d}"},
            }
            return await api.simulate_post(ROUTE, json=body, headers=headers)

        assert (await submit(0)).status_code == 202
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            await connection.execute("LOCK TABLE scrape_request_log IN ACCESS EXCLUSIVE MODE")
            calls = [asyncio.create_task(submit(number)) for number in range(1, 9)]
            refused = [await one for one in asyncio.as_completed(calls[2:])]
            assert (await api.simulate_get("/healthz")).status_code == 200
            await connection.rollback()
        assert [answer.status_code for answer in refused] == [503] * 6
        assert {answer.json["type"] for answer in refused} == {"urn:beat:problem:busy"}
        assert all(1 <= int(answer.headers["Retry-After"]) <= 3 for answer in refused)
        assert [answer.status_code for answer in await asyncio.gather(*calls[:2])] == [202, 202]
        assert [(await submit(number)).status_code for number in range(3)] == [202] * 3
