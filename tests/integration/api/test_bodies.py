"""Bodies that are made to cost much: what is refused before it is decoded, and that others are answered meanwhile."""

import asyncio
import json
import sys
import threading
from typing import Any

import pytest

from api import app, body, room, submissions
from api.body import MAX_BYTES, MAX_LIST_BYTES, MAX_VALUES
from api.problems import TooManyBodies
from api.room import Places, Room, Turns
from beat_actors.access.scopes import Scope
from beat_actors.errors import BadInput
from tests.integration.api.conftest import app_over, bearer
from tests.integration.api.promised import Promised

JSON = {"content-type": "application/json"}
ROUTE = "/v1/scrape-requests"
GOOD = {"platform": "instagram", "flow": "refresh_profile_by_handle", "params": {"handle": "creator"}}
HEAVY = {
    "lists": b"[" + b"[]," * (MAX_LIST_BYTES // 3 - 1) + b"0]",
    "numbers": b"[" + b"0," * (MAX_LIST_BYTES // 2 - 2) + b"0]",
    "objects": b'{"a":[' + b"{}," * (MAX_LIST_BYTES // 3 - 8) + b"0]}",
    "texts": b"[" + b'"",' * (MAX_LIST_BYTES // 3 - 1) + b"0]",
    "texts that end in a backslash": b"[" + rb'"\\",' * (MAX_LIST_BYTES // 5 - 1) + b"0]",
    "names": b"{" + b",".join(b'"%06d":0' % n for n in range(MAX_VALUES + 1)) + b"}",
}


@pytest.mark.parametrize("what", HEAVY)
def test_more_values_than_a_body_may_have_are_refused_before_it_is_decoded(what: str, monkeypatch) -> None:
    def decoded(*_: Any, **__: Any) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(body.msgspec.json, "decode", decoded)
    with pytest.raises(BadInput, match="more than 20000 values"):
        body.decode(HEAVY[what], dict[str, Any])


@pytest.mark.parametrize(
    "value",
    [
        [0] * (MAX_VALUES - 2),
        ["," * 20_000, "[" * 20_000, "{" * 20_000, '"' * 19_000, "\\" * 19_000, '\\"' * 9_000] * 5,
        [{"a,b": '\\",[', "c": {}}] * 4_900,
    ],
    ids=["as many as may be", "structure within texts", "escapes"],
)
def test_what_stands_in_texts_is_no_value(value: Any) -> None:
    assert body.decode(json.dumps({"requests": value}).encode(), dict[str, Any]) == {"requests": value}


def test_a_name_that_stands_twice_is_found_in_a_body_of_any_size() -> None:
    many = json.dumps({"requests": [GOOD] * 900}).encode()
    with pytest.raises(BadInput, match="'handle' twice"):
        body.decode(
            many.replace(b'"handle": "creator"', b'"handle": "creator", "h\\u0061ndle": "x"', 1), dict[str, Any]
        )


def test_a_body_of_another_shape_is_not_searched_any_further(monkeypatch) -> None:
    def loads(*_: Any, **__: Any) -> None:
        raise AssertionError("it was decoded a second time")

    monkeypatch.setattr(body.json, "loads", loads)
    with pytest.raises(BadInput, match="must be an object, not a list"):
        body.decode(json.dumps([GOOD] * 900).encode(), dict[str, Any])


async def test_only_the_list_of_requests_may_be_large(api) -> None:
    large = json.dumps({"reason": "x" * MAX_BYTES}).encode()
    for path in (
        "/v1/keys",
        "/v1/webhooks",
        f"{ROUTE}/1/cancel",
        f"{ROUTE}/retry",
        "/v1/profiles/instagram/creator/refresh",
    ):
        answer = await api.simulate_post(path, body=large, headers=JSON)
        assert (answer.status_code, answer.json["type"]) == (413, "urn:beat:problem:payload_too_large"), path
    many = [{**GOOD, "params": {"handle": f"creator_{n}"}, "tags": {"why": "x" * 50}} for n in range(1000)]
    answer = await api.simulate_post(ROUTE, json={"requests": many})
    assert (answer.status_code, answer.json["accepted"]) == (202, 1000)


async def test_others_are_answered_while_a_large_body_is_decoded(api, monkeypatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    decode = body.decode

    def held(*given: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return decode(*given)

    monkeypatch.setattr(body, "decode", held)
    large = asyncio.create_task(api.simulate_post(ROUTE, json={"requests": [GOOD] * 500}))
    assert await asyncio.to_thread(begun.wait, 60)
    monkeypatch.setattr(body, "decode", decode)
    assert (await api.simulate_post(ROUTE, json=GOOD)).status_code == 202
    assert not large.done()
    go_on.set()
    assert (await large).json["accepted"] == 500


async def test_a_key_has_few_bodies_on_their_way_and_others_have_theirs(
    settings, wake_ups, new_key, monkeypatch
) -> None:
    monkeypatch.setattr(room, "MAX_BODIES", 2)
    slow, other = bearer(await new_key(Scope.SUBMIT)), bearer(await new_key(Scope.SUBMIT))
    read, begun, arrived = body._read, asyncio.Semaphore(0), asyncio.Event()

    async def slowly(req: Any, *given: Any) -> bytes:
        if req.get_header("Authorization") == slow["Authorization"]:
            begun.release()
            await arrived.wait()
        return await read(req, *given)

    monkeypatch.setattr(body, "_read", slowly)
    async with Promised(app_over(settings, wake_ups)) as api:
        sent = [asyncio.create_task(api.simulate_post(ROUTE, json=GOOD, headers=slow)) for _ in range(2)]
        for _ in sent:
            await begun.acquire()
        refused = await api.simulate_post(ROUTE, json=GOOD, headers=slow)
        assert (refused.status_code, refused.json["type"]) == (429, "urn:beat:problem:too_many_bodies")
        assert refused.headers["retry-after"] == "1"
        assert (await api.simulate_post(ROUTE, json=GOOD, headers=other)).status_code == 202
        arrived.set()
        assert [answer.status_code for answer in await asyncio.gather(*sent)] == [202, 202]
        assert (await api.simulate_post(ROUTE, json=GOOD, headers=slow)).status_code == 202


def test_the_bytes_of_a_keys_bodies_are_bounded_as_announced_and_as_they_come(monkeypatch) -> None:
    monkeypatch.setattr(room, "MAX_BYTES_OF_KEY", 100)
    here = Room()
    with here.body(1) as first, here.body(1) as second, here.body(2) as other:
        first.grow(60)  # announced
        first.grow(30)  # what has come of it
        second.grow(40)
        other.grow(100)
        with pytest.raises(TooManyBodies, match="100 bytes of one key"):
            second.grow(41)
    with here.body(1) as again:
        again.grow(100)


def test_beyond_the_bytes_of_all_each_key_has_one_body(monkeypatch) -> None:
    monkeypatch.setattr(room, "MAX_BYTES_OF_ALL", 100)
    here = Room()
    with here.body(1) as many, here.body(2) as one:
        many.grow(90)
        one.grow(60)  # its only one
        with here.body(1) as more, pytest.raises(TooManyBodies, match="one at a time"):
            more.grow(1)
    with here.body(1), here.body(1) as again:
        again.grow(100)


async def test_a_body_that_is_announced_beyond_a_keys_bytes_is_refused_unread(api, monkeypatch) -> None:
    monkeypatch.setattr(room, "MAX_BYTES_OF_KEY", 1000)
    large = {"requests": [GOOD] * 20}
    refused = await api.simulate_post(ROUTE, json=large)
    assert (refused.status_code, refused.json["type"]) == (429, "urn:beat:problem:too_many_bodies")
    assert refused.headers["retry-after"] == "1"
    assert (await api.simulate_post(ROUTE, json=GOOD)).status_code == 202  # it took no room


async def test_keys_take_turns_at_large_bodies_and_each_piece_leaves_as_much_time_to_others() -> None:
    now, done, pauses = 0.0, [], []

    async def slept(seconds: float) -> None:
        nonlocal now
        pauses.append(seconds)
        now += seconds

    turns, let = Turns(lambda: now, slept), asyncio.Event()
    at_work = 0

    async def work(key_id: int, seconds: float) -> None:
        nonlocal now, at_work
        async with turns.of(key_id):
            at_work += 1
            assert at_work == 1
            await let.wait()
            now += seconds
            at_work -= 1
            done.append(key_id)

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(work(1, 0.25))
        await asyncio.sleep(0)
        group.create_task(work(2, 0.5))
        group.create_task(work(3, 30.0))
        await asyncio.sleep(0)
        let.set()
    assert done == [1, 2, 3, 1, 1, 1]
    assert pauses == [0.25, 0.5, room.MAX_PAUSE, 0.25, 0.25]


async def test_a_key_without_work_is_forgotten() -> None:
    places = Places(2)
    async with places.of(1), places.of(1), places.of(2):
        assert len(places._of_key) == 2
    assert not places._of_key
    assert not places._wanted


async def test_one_long_list_is_checked_at_a_time_and_others_are_answered_meanwhile(api, monkeypatch) -> None:
    prepared, checked = submissions.prepared, []

    def noted(item, caller, *, keyed):
        checked.append(item["tags"]["of"])
        return prepared(item, caller, keyed=keyed)

    monkeypatch.setattr(submissions, "prepared", noted)
    lists = {of: [{**GOOD, "tags": {"of": of}}] * 120 for of in "abc"}
    sent = [asyncio.create_task(api.simulate_post(ROUTE, json={"requests": many})) for many in lists.values()]
    assert {(await one).json["accepted"] for one in sent} == {120}
    assert checked == [of for of in dict.fromkeys(checked) for _ in range(120)]


def test_a_thread_that_decodes_gives_way_to_the_event_loop_soon(settings, monkeypatch) -> None:
    for name in ("database_url", "redis_url"):
        monkeypatch.setenv(f"BEAT_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setenv("BEAT_VAULT_KEYS", settings.vault_keys.get_secret_value())
    monkeypatch.setenv("BEAT_MESSAGE_KEYS", settings.message_keys.get_secret_value())
    monkeypatch.setattr(app, "configure", lambda *_, **__: None)
    before = sys.getswitchinterval()
    try:
        app.open_services().hang_up()
        assert sys.getswitchinterval() <= 0.001
    finally:
        sys.setswitchinterval(before)
