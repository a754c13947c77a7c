"""Waiting for an answer: until it is there or the time is up, without a connection that is held."""

import asyncio
from collections.abc import Collection

import pytest

from api.waiting import Waiting
from beat_actors.access.scopes import Scope
from beat_actors.database import Database
from beat_actors.errors import StorageUnavailable
from tests.integration.api.conftest import app_over, bearer
from tests.integration.api.promised import Promised

GOOD = {"platform": "instagram", "flow": "refresh_profile_by_handle", "params": {"handle": "creator"}}
ROUTE = "/v1/scrape-requests"
END = """
UPDATE scrape_request_log SET status = 'COMPLETE', live = false, items = 13, scraped_at = clock_timestamp(), observed_at = clock_timestamp()
"""


async def run(database: Database, sql: str) -> None:
    async with database.transaction() as transaction:
        await transaction.run(sql)


async def test_s2_6_who_waits_gets_202_with_id_location_and_retry_after_when_the_time_is_up(api) -> None:
    answer = await api.simulate_post(ROUTE, json=GOOD, params={"wait": "1"})
    assert answer.status_code == 202
    assert answer.headers["location"] == f"{ROUTE}/{answer.json['id']}"
    assert int(answer.headers["retry-after"]) >= 1
    looked = await api.simulate_get(answer.headers["location"], params={"wait": "1"})
    assert (looked.status_code, looked.json["status"]) == (202, "PENDING")
    assert looked.headers["location"] == answer.headers["location"]
    assert int(looked.headers["retry-after"]) >= 1


async def test_s2_6_retry_after_is_when_the_first_blocker_clears(api, database) -> None:
    asked = (await api.simulate_post(ROUTE, json=GOOD)).json
    await run(database, "UPDATE lane SET blocked_until = clock_timestamp() + interval '31 seconds', reasons = '[]'")
    looked = await api.simulate_get(asked["location"], params={"wait": "1"})
    assert 20 < int(looked.headers["retry-after"]) <= 31
    await run(database, "UPDATE lane SET blocked_until = clock_timestamp() + interval '1 day'")
    looked = await api.simulate_get(asked["location"], params={"wait": "1"})
    assert looked.headers["retry-after"] == "60"


async def test_s2_6_what_only_a_person_can_change_is_not_asked_for_every_second(api, database) -> None:
    asked = (await api.simulate_post(ROUTE, json=GOOD)).json
    reasons = '[{"source": "lama", "why": "it has no credential that works"}]'
    await run(database, f"UPDATE lane SET blocked_until = NULL, reasons = '{reasons}'")
    looked = await api.simulate_get(asked["location"], params={"wait": "1"})
    assert looked.headers["retry-after"] == "60"


@pytest.mark.parametrize("how", ["query", "prefer"])
async def test_who_waits_gets_the_finished_request_as_soon_as_it_has_ended(api, database, how: str) -> None:
    asking = {"params": {"wait": "60"}} if how == "query" else {"headers": {"Prefer": "respond-async, wait=600"}}
    waits = asyncio.create_task(api.simulate_post(ROUTE, json=GOOD, **asking))
    joins = asyncio.create_task(api.simulate_post(ROUTE, json=GOOD, **asking))
    while True:
        async with database.transaction() as transaction:
            if await transaction.value("SELECT count(*) FROM scrape_request_log") == 2:
                break
    await run(database, END)
    for answer in await asyncio.gather(waits, joins):
        assert (answer.status_code, answer.json["status"], answer.json["items"]) == (200, "COMPLETE", 13)
        assert answer.json["collected_at"] is not None


async def test_many_wait_on_few_connections(settings, bell, database, new_key) -> None:
    """More callers wait than the pool has connections, and others are served meanwhile."""
    small = settings.model_copy(update={"database_pool_size": 2, "database_max_overflow": 0})
    key = await new_key(Scope.SUBMIT, Scope.READ)
    async with Promised(app_over(small, bell), headers=bearer(key)) as api:
        asked = [{**GOOD, "params": {"handle": f"a{n}"}} for n in range(40)]
        outcomes = (await api.simulate_post(ROUTE, json={"requests": asked})).json["outcomes"]
        waits = [asyncio.create_task(api.simulate_get(one["location"], params={"wait": "60"})) for one in outcomes]
        await asyncio.sleep(1)
        assert (await api.simulate_post(ROUTE, json=GOOD)).status_code == 202
        assert not any(wait.done() for wait in waits)
        await run(database, END)
        assert {(await wait).status_code for wait in waits} == {200}


async def test_one_look_is_for_all_who_wait_and_survives_a_database_that_is_away() -> None:
    looks: list[list[int]] = []

    async def ended(ids: Collection[int]) -> set[int]:
        looks.append(sorted(ids))
        if len(looks) == 1:
            raise StorageUnavailable("away")
        return {1, 2} if len(looks) == 3 else set()

    waiting = Waiting(ended)
    waits = [asyncio.create_task(waiting.until_ended(n, 60)) for n in (1, 1, 2)]
    patient = asyncio.create_task(waiting.until_ended(3, 60))
    assert await asyncio.gather(*waits) == [True, True, True]
    assert looks == [[1, 2, 3]] * 3
    await waiting.close()
    await patient
    assert await waiting.until_ended(4, 0.001) is False


@pytest.mark.parametrize(
    ("params", "body", "status"),
    [
        ({"wait": "61"}, GOOD, 400),
        ({"wait": "-1"}, GOOD, 400),
        ({"wait": "soon"}, GOOD, 400),
        ({"wait": "1"}, {"requests": [GOOD]}, 400),
        ({"wait": "0"}, GOOD, 202),
    ],
)
async def test_how_long_one_may_wait(api, params, body, status: int) -> None:
    assert (await api.simulate_post(ROUTE, json=body, params=params)).status_code == status


@pytest.mark.parametrize("prefer", ["wait", "wait=", "wait=x", "return=minimal", ";;,=", "wait=-5"])
async def test_a_preference_that_makes_no_sense_is_passed_over(api, prefer: str) -> None:
    assert (await api.simulate_post(ROUTE, json=GOOD, headers={"Prefer": prefer})).status_code == 202
