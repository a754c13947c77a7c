"""Whatever lies under a name that Beat uses in Redis, work ends: Redis holds hints, and the rows hold the truth."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator

import aiohttp
import pytest
import redis

from actors.mailbox import QUEUES
from beat_actors.alerts import list_alerts
from beat_actors.database import Database
from beat_actors.process_alerts import processes_in_trouble
from beat_actors.settings import Settings
from beat_actors.watch.rule import Watch
from tests.integration.engine.conftest import DEADLINE, System

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]

SPACE = "dramatiq"
STARTS = itertools.cycle(range(0, 1_000, 4))
GARBAGE = b"\xff\x00 garbage"

Spoil = Callable[[redis.Redis, str], object]
"""Something that is left under a key, after the key was deleted."""


def _string(client: redis.Redis, key: str) -> None:
    client.set(key, 1)


def _garbage_string(client: redis.Redis, key: str) -> None:
    client.set(key, GARBAGE)


def _list(client: redis.Redis, key: str) -> None:
    client.rpush(key, GARBAGE, "7")


def _hash(client: redis.Redis, key: str) -> None:
    client.hset(key, mapping={GARBAGE: GARBAGE, "n": GARBAGE, "total": "1e999", "first": "-1", "ingest": "{"})


def _set(client: redis.Redis, key: str) -> None:
    client.sadd(key, GARBAGE, "7")


def _sorted(client: redis.Redis, key: str) -> None:
    client.zadd(key, {GARBAGE: float("inf"), "old": float("-inf"), "7": 1})


KEYS: dict[str, tuple[str, Spoil]] = {
    "wake-up": (f"{SPACE}:rung:instagram", _garbage_string),
    **{f"ids of {queue}": (f"{SPACE}:{queue}", _list) for queue in QUEUES},
    **{f"messages of {queue}": (f"{SPACE}:{queue}.msgs", _hash) for queue in QUEUES},
    "held": (f"{SPACE}:__acks__.*", _set),
    "heartbeats": (f"{SPACE}:__heartbeats__", _sorted),
    "acknowledged": (f"{SPACE}:__done__.*", _garbage_string),
    "dead letters": (f"{SPACE}:retrieve.XQ", _sorted),
    "messages of dead letters": (f"{SPACE}:retrieve.XQ.msgs", _hash),
    "plans": (f"{SPACE}:__again__", _hash),
    "calls of a key": (f"{SPACE}:calls:*", _hash),
    "ping": (f"{SPACE}:ping", _garbage_string),
    "counters of limits": ("beat_server_refresh_*", _garbage_string),
    "windows of limits": ("beat_server_window:*", _hash),
}
"""Each kind of key: its name or the pattern of its names, and what garbage of the right type is."""


def left(kind: str, content: str) -> Spoil:
    """What is put under a key of this kind."""
    garbage = KEYS[kind][1]
    other = _hash if garbage is _list else _list
    return {"another type": other, "a string that stays": _string, "garbage": garbage, "nothing": lambda *_: None}[
        content
    ]


SOME = {
    ("wake-up", "another type"),
    ("wake-up", "a string that stays"),
    ("ids of retrieve", "garbage"),
    ("messages of ingest", "another type"),
    ("heartbeats", "another type"),
    ("counters of limits", "garbage"),
}
CASES = [
    pytest.param(*case, marks=() if case in SOME else pytest.mark.exhaustive)
    for case in itertools.product(KEYS, ("another type", "a string that stays", "garbage", "nothing"))
]


@pytest.fixture
def valkey(system: System) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(system.stack.valkey.url) as client:
        yield client


def replace(client: redis.Redis, key: str, spoil: Spoil) -> None:
    """At once, so that no process makes the key anew in between."""
    with client.pipeline(transaction=True) as pipe:
        pipe.delete(key)
        spoil(pipe, key)
        pipe.execute()


async def ask(system: System, count: int, *, on_demand: bool = False) -> list[int]:
    """Requests, or refreshes on demand, which the limits count."""
    start = next(STARTS)
    if not on_demand:
        return await system.submit(count, start=start)
    ids = []
    async with aiohttp.ClientSession(headers=system.stack.authorization) as http:
        for n in range(start, start + count):
            url = f"{system.stack.api_url}/v1/profiles/instagram/creator_{n:06d}/refresh"
            ids.append(await _accepted(http, url, time.monotonic() + DEADLINE))
    return ids


async def _accepted(http: aiohttp.ClientSession, url: str, deadline: float) -> int:
    """On a full machine Valkey may answer too late for the API, which says so and accepts nothing: it is asked again."""
    while True:
        async with http.post(url) as response:
            if response.status == 202:
                return int((await response.json())["id"])
            assert response.status == 503, await response.text()
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)


@pytest.mark.parametrize(("kind", "content"), CASES)
async def test_work_ends_whatever_lies_under_a_key(
    system: System, valkey: redis.Redis, kind: str, content: str
) -> None:
    pattern, spoil, on_demand = KEYS[kind][0], left(kind, content), "limits" in kind
    ids = await ask(system, 2, on_demand=on_demand)
    for key in [key.decode() for key in valkey.scan_iter(pattern, count=1000)] or [pattern.replace("*", "left")]:
        replace(valkey, key, spoil)
    ids += await ask(system, 2, on_demand=on_demand)
    await system.all_ended(ids)
    system.assert_nothing_lost_or_doubled(ids)


@pytest.mark.exhaustive
async def test_an_alert_names_the_keys_that_were_made_anew(system: System, valkey: redis.Redis) -> None:
    keys = [f"{SPACE}:rung:instagram", f"{SPACE}:ingest", f"{SPACE}:__heartbeats__", f"{SPACE}:credential_broker.msgs"]
    for key in keys:
        replace(valkey, key, _string)
    await system.all_ended(await ask(system, 2))
    reported = "SELECT count(*) FROM unnest(%s::text[]) key WHERE EXISTS (SELECT FROM process WHERE troubles->>'redis keys' LIKE '%%' || key || '%%')"
    await system.until(lambda: system.value(reported, keys) == len(keys))
    settings = Settings(
        database_url=system.stack.env["BEAT_DATABASE_URL"], redis_url=system.stack.env["BEAT_REDIS_URL"]
    )
    database = Database(settings, name="test")
    try:
        await Watch("process", processes_in_trouble).run(database)
        async with database.transaction() as transaction:
            alerts = await list_alerts(transaction)
    finally:
        await database.close()
    (alert,) = [one for one in alerts if one.key == "process:redis keys"]
    assert any(key in alert.cause for key in keys)
    assert "its own namespace and users" in alert.action
