"""A batch: many requests under one id, its progress, its cancellation, and one event when all of them have ended."""

import asyncio
from typing import Any

import pytest

from beat_actors.access.scopes import Scope
from beat_actors.database import Database
from beat_actors.requests import batches
from beat_actors.requests.batches import Sweep
from tests.integration.api.conftest import Keys, app_over, bearer
from tests.integration.api.promised import Promised
from tests.integration.api.test_access import GOOD

ROUTE = "/v1/batches"


def asked(*names: str, **fields: Any) -> dict[str, Any]:
    return {"requests": [GOOD | {"params": {"handle": name}} for name in names], **fields}


async def made(api: Any, *names: str, headers: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    answer = await api.simulate_post(ROUTE, json=asked(*names, **fields), headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.json


async def events(database: Database) -> list[Any]:
    async with database.statements() as alone:
        return [
            row.data
            for row in await alone.rows("SELECT data FROM event WHERE type = 'beat.batch.ended' ORDER BY id", ())
        ]


async def end(api: Any, ids: list[int]) -> None:
    for number in ids:
        assert (await api.simulate_post(f"/v1/scrape-requests/{number}/cancel")).status_code == 200


async def test_a_batch_is_followed_to_its_end_and_reported_once(api, database: Database) -> None:
    answer = await made(api, "a", "b", "c")
    batch, ids = answer["batch"], [one["id"] for one in answer["outcomes"]]
    assert (batch["state"], batch["total"], batch["finished"]) == ("RUNNING", 3, 0)
    assert batch["counts"] == {"PENDING": 3, "PROCESSING": 0, "COMPLETE": 0, "FAILED": 0, "CANCELLED": 0}
    listed = (await api.simulate_get(f"/v1/scrape-requests?batch_id={batch['id']}")).json["requests"]
    assert [one["id"] for one in listed] == ids[::-1]
    assert {one["batch_id"] for one in listed} == {batch["id"]}
    await end(api, ids[:2])
    await Sweep()(database)
    found = (await api.simulate_get(batch["location"])).json
    assert (found["state"], found["finished"], found["counts"]["CANCELLED"]) == ("RUNNING", 2, 2)
    assert await events(database) == []
    await end(api, ids[2:])
    assert [(await Sweep()(database)).count for _ in range(3)] == [1, 0, 0]
    found = (await api.simulate_get(batch["location"])).json
    assert (found["state"], found["finished"]) == ("ENDED", 3)
    (event,) = await events(database)
    assert (event["id"], event["total"], event["location"]) == (batch["id"], 3, batch["location"])
    assert event["counts"] == {"CANCELLED": 3}
    again = (await api.simulate_post(f"/v1/scrape-requests/{ids[0]}/retry")).status_code
    assert again == 202  # what runs again does not open a batch that was told of
    await Sweep()(database)
    assert len(await events(database)) == 1
    assert (await api.simulate_get(batch["location"])).json["counts"]["CANCELLED"] == 3


async def test_many_sweeps_at_once_report_one_event(api, database: Database) -> None:
    answer = await made(api, "a")
    await end(api, [answer["outcomes"][0]["id"]])
    counts = [swept.count for swept in await asyncio.gather(*(Sweep()(database) for _ in range(8)))]
    assert sum(counts) == 1
    assert len(await events(database)) == 1


async def test_requests_are_added_while_a_batch_is_open(api, database: Database) -> None:
    answer = await made(api, "a", more=True)
    batch = answer["batch"]
    assert batch["state"] == "OPEN"
    await end(api, [answer["outcomes"][0]["id"]])
    await Sweep()(database)
    assert await events(database) == []  # more may come
    added = await api.simulate_post(f"{batch['location']}/requests", json=asked("b", "c", more=True))
    assert (added.status_code, added.json["batch"]["total"], added.json["batch"]["state"]) == (202, 3, "OPEN")
    closed = (await api.simulate_post(f"{batch['location']}/close")).json
    assert closed["state"] == "RUNNING"
    refused = await api.simulate_post(f"{batch['location']}/requests", json=asked("d"))
    assert (refused.status_code, refused.json["type"]) == (409, "urn:beat:problem:conflict")
    await end(api, [one["id"] for one in added.json["outcomes"]])
    await Sweep()(database)
    assert [event["total"] for event in await events(database)] == [3]


async def test_a_batch_that_nobody_closes_is_closed_after_a_day(api, database: Database) -> None:
    answer = await made(api, "a", more=True)
    await end(api, [answer["outcomes"][0]["id"]])
    async with database.transaction() as transaction:
        await transaction.run("UPDATE request_batch SET added_at = added_at - interval '25 hours'")
    sweep = Sweep()
    assert [(await sweep(database)).count for _ in range(2)] == [0, 1]
    assert len(await events(database)) == 1


async def test_a_batch_is_cancelled_at_once_and_by_the_sweep(api, database: Database, monkeypatch) -> None:
    batch = (await made(api, *(f"n{n}" for n in range(5))))["batch"]
    monkeypatch.setattr(batches, "CANCELLED_AT_ONCE", 2)
    answer = await api.simulate_post(f"{batch['location']}/cancel", json={"reason": "over"})
    assert (answer.status_code, answer.json["state"], answer.json["finished"]) == (202, "CANCELLING", 2)
    sweep = Sweep()
    for _ in range(3):
        await sweep(database)
    found = (await api.simulate_get(batch["location"])).json
    assert (found["state"], found["counts"]["CANCELLED"]) == ("ENDED", 5)
    request = (await api.simulate_get(f"/v1/scrape-requests?batch_id={batch['id']}&limit=1")).json["requests"][0]
    assert request["data"]["error"]["message"] == "over"
    assert [event["cancelled_at"] is not None for event in await events(database)] == [True]


async def test_an_idempotency_key_gets_the_same_batch(api, database: Database) -> None:
    headers = {"Idempotency-Key": "one"}
    first = await api.simulate_post(ROUTE, json=asked("a", "b", more=True), headers=headers)
    again = await api.simulate_post(ROUTE, json=asked("a", "b", more=True), headers=headers)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json["batch"]["id"] == first.json["batch"]["id"]
    assert [one["id"] for one in again.json["outcomes"]] == [one["id"] for one in first.json["outcomes"]]
    assert (await api.simulate_post(ROUTE, json=asked("a"), headers=headers)).status_code == 409
    path, headers = f"{first.json['batch']['location']}/requests", {"Idempotency-Key": "two"}
    for replayed in (None, "true"):
        added = await api.simulate_post(path, json=asked("c"), headers=headers)
        assert (added.status_code, added.json["batch"]["total"]) == (202, 3)
        assert added.headers.get("idempotency-replayed") == replayed
    async with database.statements() as alone:
        assert await alone.rows("SELECT total FROM request_batch", ()) == [(3,)]


async def test_what_is_refused_is_said_and_makes_no_batch(api, database: Database) -> None:
    body = asked("a") | {"requests": [GOOD, GOOD | {"flow": "nosuch"}]}
    answer = (await api.simulate_post(ROUTE, json=body)).json
    assert (answer["accepted"], answer["refused"], answer["batch"]["total"]) == (1, 1, 1)
    assert answer["outcomes"][1]["field"] == "flow"
    refused = await api.simulate_post(ROUTE, json={"requests": [GOOD | {"flow": "nosuch"}]})
    assert (refused.status_code, refused.json["accepted"]) == (400, 0)
    for wrong in (
        {"requests": []},
        {"requests": "x"},
        {},
        {"requests": [GOOD], "mroe": True},
        {"requests": [GOOD], "more": 1},
    ):
        assert (await api.simulate_post(ROUTE, json=wrong)).status_code == 400
    async with database.statements() as alone:
        assert len(await alone.rows("SELECT id FROM request_batch", ())) == 1


async def test_a_wait_ends_with_the_batch(api, database: Database) -> None:
    answer = await made(api, "a")
    path = answer["batch"]["location"]
    waiting = asyncio.create_task(api.simulate_get(f"{path}?wait=60"))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await end(api, [answer["outcomes"][0]["id"]])
    await Sweep()(database)
    found = await waiting
    assert (found.status_code, found.json["state"]) == (200, "ENDED")
    other = (await made(api, "b"))["batch"]["location"]
    late = await api.simulate_get(f"{other}?wait=1")
    assert (late.status_code, late.headers["location"], late.headers["retry-after"]) == (202, other, "2")


async def test_who_sees_a_batch(settings, wake_ups, api, new_key: Keys) -> None:
    scopes = (Scope.SUBMIT, Scope.READ)
    acme, zeta, free = [bearer(await new_key(*scopes, account_id=account)) for account in ("acme", "zeta", None)]
    async with Promised(app_over(settings, wake_ups)) as callers:
        number = (await made(callers, "a", "b", headers=acme))["batch"]["id"]
        for headers, status in ((acme, 200), (zeta, 404), (free, 404)):
            for path in (f"{ROUTE}/{number}",):
                assert (await callers.simulate_get(path, headers=headers)).status_code == status
            listed = (await callers.simulate_get(ROUTE, headers=headers)).json["batches"]
            assert [one["id"] for one in listed] == ([number] if status == 200 else [])
        for path in ("cancel", "close"):
            assert (await callers.simulate_post(f"{ROUTE}/{number}/{path}", headers=zeta)).status_code == 404
        added = await callers.simulate_post(f"{ROUTE}/{number}/requests", json=asked("c"), headers=zeta)
        assert added.status_code == 404
    listed = (await api.simulate_get(f"{ROUTE}?limit=1")).json
    assert [(one["id"], one["counts"]) for one in listed["batches"]] == [(number, None)]


@pytest.mark.parametrize("looked", [1, 2, 100])
async def test_the_sweep_walks_over_batches_that_go_on(api, database: Database, monkeypatch, looked: int) -> None:
    monkeypatch.setattr(batches, "LOOKED", looked)
    monkeypatch.setattr(batches, "ENDED_AT_ONCE", 1)
    answers = [await made(api, f"a{n}") for n in range(4)]
    for n in (1, 3):
        await end(api, [answers[n]["outcomes"][0]["id"]])
    sweep = Sweep()
    assert sum([(await sweep(database)).count for _ in range(2)]) == 2
    assert sorted(event["id"] for event in await events(database)) == [answers[n]["batch"]["id"] for n in (1, 3)]
