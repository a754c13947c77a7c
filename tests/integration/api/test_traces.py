"""The trace of a caller: taken from the headers of W3C Trace Context, kept with the request, told in answers."""

from typing import Any

import pytest

from beat_actors.database import Database
from beat_actors.traces.context import ids
from tests.integration.api.test_requests import GOOD, ROUTE

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
STORED = bytes.fromhex(TRACE + SPAN + "01")


async def kept(database: Database) -> list[bytes | None]:
    async with database.statements() as alone:
        return [row.trace for row in await alone.rows("SELECT trace FROM scrape_request_log ORDER BY id")]


def another(number: int) -> dict[str, Any]:
    return GOOD | {"params": {"handle": f"creator{number}"}}


async def test_the_trace_of_a_caller_is_kept_and_told(api, database) -> None:
    headers = {"traceparent": PARENT, "tracestate": "vendor=a"}
    made = (await api.simulate_post(ROUTE, json=GOOD, headers=headers)).json
    assert await kept(database) == [STORED]
    assert (await api.simulate_get(f"{ROUTE}/{made['id']}")).json["trace_id"] == TRACE
    assert (await api.simulate_get(f"{ROUTE}/{made['id']}/explain")).json["request"]["trace_id"] == TRACE


@pytest.mark.parametrize("header", [None, "nonsense", f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01"])
async def test_a_request_has_a_trace_of_its_own_where_none_came(api, database, header: str | None) -> None:
    headers = {"tracestate": "vendor=a"} | ({} if header is None else {"traceparent": header})
    answer = await api.simulate_post(ROUTE, json=GOOD, headers=headers)
    assert answer.status_code == 202
    assert await kept(database) == [None]
    (row,) = [row async for row in _rows(database)]
    shown = (await api.simulate_get(f"{ROUTE}/{row.id}")).json
    assert shown["trace_id"] == ids(row.id, row.created_at, 0, None).trace


async def _rows(database: Database) -> Any:
    async with database.statements() as alone:
        for row in await alone.rows("SELECT id, created_at FROM scrape_request_log ORDER BY id"):
            yield row


async def test_a_list_a_batch_and_what_joins_have_it_too(api, database) -> None:
    headers = {"traceparent": PARENT}
    await api.simulate_post(ROUTE, json={"requests": [another(1), another(2)]}, headers=headers)
    batch = (
        await api.simulate_post("/v1/batches", json={"requests": [another(3)], "more": True}, headers=headers)
    ).json
    await api.simulate_post(
        f"/v1/batches/{batch['batch']['id']}/requests", json={"requests": [another(4)]}, headers=headers
    )
    joined = (await api.simulate_post(ROUTE, json=another(1), headers=headers)).json
    assert joined["accepted_as"] == "joined"
    assert await kept(database) == [STORED] * 5


async def test_a_refresh_on_demand_has_it(api, database) -> None:
    answer = await api.simulate_post("/v1/profiles/instagram/creator/refresh", headers={"traceparent": PARENT})
    assert answer.status_code == 202
    assert await kept(database) == [STORED]


async def test_a_call_that_is_repeated_with_another_trace_is_the_same_call(api, database) -> None:
    """A client that tries again begins another span."""
    key = {"Idempotency-Key": "k"}
    first = await api.simulate_post(ROUTE, json=GOOD, headers=key | {"traceparent": PARENT})
    again = await api.simulate_post(ROUTE, json=GOOD, headers=key | {"traceparent": f"00-{TRACE}-{SPAN[::-1]}-00"})
    assert again.json == first.json
    assert again.headers["Idempotency-Replayed"] == "true"
    assert await kept(database) == [STORED]
