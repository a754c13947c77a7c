"""Waiting for an answer: until it is there or the time is up, without a connection that is held."""

import asyncio
from collections.abc import Collection
from typing import Any

import pytest

from api import finished, waiting
from api.waiting import Waiting
from beat_actors.access.scopes import Scope
from beat_actors.database import Database
from beat_actors.errors import StorageUnavailable
from tests.in_one import in_one
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
    blocked = "UPDATE lane SET blocked_until = clock_timestamp() + interval '31 seconds', reasons = '[]', checked_at = clock_timestamp()"
    await run(database, blocked)
    looked = await api.simulate_get(asked["location"], params={"wait": "1"})
    assert 20 < int(looked.headers["retry-after"]) <= 31
    await run(database, "UPDATE lane SET blocked_until = clock_timestamp() + interval '1 day'")
    looked = await api.simulate_get(asked["location"], params={"wait": "1"})
    assert looked.headers["retry-after"] == "60"


async def test_s2_6_what_only_a_person_can_change_is_not_asked_for_every_second(api, database) -> None:
    asked = (await api.simulate_post(ROUTE, json=GOOD)).json
    reasons = '[{"source": "lama", "why": "it has no credential that works"}]'
    await run(database, f"UPDATE lane SET blocked_until = NULL, reasons = '{reasons}', checked_at = clock_timestamp()")
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


async def test_many_wait_on_few_connections(settings, wake_ups, database, new_key) -> None:
    """More callers wait than the pool has connections, and others are served meanwhile."""
    small = settings.model_copy(update={"database_pool_size": 2, "database_max_overflow": 0})
    key = await new_key(Scope.SUBMIT, Scope.READ)
    async with Promised(app_over(small, wake_ups), headers=bearer(key)) as api:
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

    watch = Waiting(ended)
    waits = [asyncio.create_task(watch.until_ended(n, 60, key_id=1)) for n in (1, 1, 2)]
    patient = asyncio.create_task(watch.until_ended(3, 60, key_id=1))
    assert await asyncio.gather(*waits) == [True, True, True]
    assert looks == [[1, 2, 3]] * 3
    await watch.close()
    await patient
    assert await watch.until_ended(4, 0.001, key_id=1) is False


async def test_a_key_waits_so_often_and_further_waits_are_answered_at_once(
    settings, wake_ups, database, new_key, monkeypatch
) -> None:
    """As when the time is up: 202, and when to look again. Another key waits meanwhile, until the process has as many as it holds."""
    monkeypatch.setattr(waiting, "MAX_WAITS_OF_KEY", 2)
    monkeypatch.setattr(waiting, "MAX_WAITS", 3)
    keys = [bearer(await new_key(Scope.SUBMIT, Scope.READ)) for _ in range(2)]
    async with Promised(app_over(settings, wake_ups)) as api:
        asked = (await api.simulate_post(ROUTE, json=GOOD, headers=keys[0])).json["location"]

        def wait(key: dict[str, str]) -> asyncio.Task[Any]:
            return asyncio.create_task(api.simulate_get(asked, params={"wait": "60"}, headers=key))

        held: set[asyncio.Task[Any]] = set()
        for key, of_key in ((keys[0], 2), (keys[1], 1)):
            calls = {wait(key) for _ in range(5)}
            at_once = []
            while len(at_once) < 5 - of_key:
                done, _ = await asyncio.wait(calls - set(at_once), return_when=asyncio.FIRST_COMPLETED)
                at_once += done
            for call in at_once:
                answer = call.result()
                assert (answer.status_code, answer.json["status"]) == (202, "PENDING")
                assert int(answer.headers["retry-after"]) >= 1
            held |= calls - set(at_once)
        posted = await api.simulate_post(ROUTE, json=GOOD, params={"wait": "60"}, headers=keys[0])
        assert posted.status_code == 202
        assert 10 <= int(posted.headers["retry-after"]) <= 20
        batch = await api.simulate_post("/v1/batches", json={"requests": [GOOD]}, headers=keys[0])
        beside = await api.simulate_get(batch.json["batch"]["location"], params={"wait": "60"}, headers=keys[0])
        assert beside.status_code == 202
        assert 10 <= int(beside.headers["retry-after"]) <= 20  # waits for batches count in the same bound
        assert len(held) == 3
        await run(database, END)
        assert {(await call).status_code for call in held} == {200}
        waits_again = wait(keys[0])
        assert (await waits_again).status_code == 200


async def test_many_waits_that_end_together_leave_connections_to_others(
    settings, wake_ups, database, new_key, monkeypatch
) -> None:
    """The requests of one key's waits are read a few at a time, so that their reads are not before everybody else's."""
    many, other = [bearer(await new_key(Scope.SUBMIT, Scope.READ)) for _ in range(2)]
    read, at_once, most, go_on, reads = finished._read, 0, 0, asyncio.Event(), asyncio.Semaphore(0)
    go_on.set()

    async def counted(provider: Any, request_id: int, caller: Any) -> Any:
        nonlocal at_once, most
        if caller.key_id == many_id:
            at_once += 1
            most = max(most, at_once)
            reads.release()
            await go_on.wait()
            at_once -= 1
        return await read(provider, request_id, caller)

    until_ended, begun = Waiting.until_ended, asyncio.Semaphore(0)

    async def waits_for(self: Waiting, *given: Any) -> bool:
        begun.release()
        return await until_ended(self, *given)

    monkeypatch.setattr(finished, "_read", counted)
    monkeypatch.setattr(Waiting, "until_ended", waits_for)
    async with Promised(app_over(settings, wake_ups)) as api:
        asked = (await api.simulate_post(ROUTE, json=GOOD, headers=many)).json["location"]
        async with database.statements() as alone:
            many_id = await alone.value("SELECT api_key_id FROM scrape_request_log")
        waits = [asyncio.create_task(api.simulate_get(asked, params={"wait": "60"}, headers=many)) for _ in range(40)]
        for _ in waits:  # each was read once, and waits
            await begun.acquire()
            await reads.acquire()
        go_on.clear()
        await run(database, END)
        for _ in range(waiting.LOOKS_OF_KEY):
            await reads.acquire()
        theirs = await api.simulate_get(asked, params={"wait": "60"}, headers=other)
        assert (theirs.status_code, theirs.json["status"]) == (200, "COMPLETE")
        go_on.set()
        assert {(await one).status_code for one in waits} == {200}
    assert most == waiting.LOOKS_OF_KEY


async def test_of_many_waits_whose_time_is_up_at_once_few_read_anew(settings, wake_ups, new_key, monkeypatch) -> None:
    """The others are answered as the request was when they began to wait, so that nobody is kept or refused."""
    key = bearer(await new_key(Scope.SUBMIT, Scope.READ))
    read, held, reads = finished._read, asyncio.Event(), 0
    begun, over = asyncio.Semaphore(0), asyncio.Event()

    async def counted(*given: Any) -> Any:
        nonlocal reads
        reads += 1
        if over.is_set():
            await held.wait()
        return await read(*given)

    async def waits_until_over(*_: Any, **__: Any) -> bool:
        begun.release()
        await over.wait()
        return False

    monkeypatch.setattr(finished, "_read", counted)
    monkeypatch.setattr(Waiting, "until_ended", waits_until_over)
    async with Promised(app_over(settings, wake_ups)) as api:
        asked = (await api.simulate_post(ROUTE, json=GOOD, headers=key)).json["location"]
        waits = {asyncio.create_task(api.simulate_get(asked, params={"wait": "60"}, headers=key)) for _ in range(20)}
        for _ in waits:
            await begun.acquire()
        assert reads == 20
        over.set()
        answered: set[asyncio.Task[Any]] = set()
        while len(answered) < 20 - waiting.LOOKS_OF_KEY:
            done, _ = await asyncio.wait(waits - answered, return_when=asyncio.FIRST_COMPLETED)
            answered |= done
        for call in answered:
            answer = call.result()
            assert (answer.status_code, answer.json["status"]) == (202, "PENDING")
            assert 10 <= int(answer.headers["retry-after"]) <= 20
        held.set()
        assert {(await call).status_code for call in waits} == {202}
    assert reads == 20 + waiting.LOOKS_OF_KEY


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


@in_one("prefer", ["wait", "wait=", "wait=x", "return=minimal", ";;,=", "wait=-5"])
async def test_a_preference_that_makes_no_sense_is_passed_over(api, prefer: str) -> None:
    assert (await api.simulate_post(ROUTE, json=GOOD, headers={"Prefer": prefer})).status_code == 202
