"""How often a key may call: counted once for all processes, and no less served while Redis is away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import uvloop
from falcon.testing import ASGIConductor
from redis import Redis, RedisError
from structlog.testing import capture_logs

from api import limits
from api.limits import Allowance, Limiter
from beat_actors.access.scopes import Scope
from beat_actors.chaos.proxy import Proxy
from beat_actors.settings import Settings
from tests.integration.api.conftest import Keys, WakeUps, app_over, bearer
from tests.integration.api.test_access import GOOD

ROUTE = "/v1/scrape-requests"


@pytest.fixture
def long_window(monkeypatch: pytest.MonkeyPatch) -> int:
    """So long that none ends while a test runs."""
    monkeypatch.setattr(limits, "WINDOW", 10**9)
    return 10**9


@pytest.fixture
async def processes(settings: Settings) -> AsyncIterator[list[Limiter]]:
    """Three processes of the API."""
    limiters = [Limiter(settings) for _ in range(3)]
    yield limiters
    for limiter in limiters:
        await limiter.close()


def without_redis(settings: Settings) -> Settings:
    return settings.model_copy(update={"redis_url": "redis://127.0.0.1:9"})


async def test_a_keys_rate_is_one_over_all_processes(processes, long_window) -> None:
    answers = await asyncio.gather(*(limiter.take(1, 50) for limiter in processes for _ in range(40)))
    granted = [answer for answer in answers if answer.granted]
    assert len(granted) == 50
    assert sorted(answer.remaining for answer in granted) == list(range(50))
    assert all(answer.seconds > 0 for answer in answers)
    assert (await processes[0].take(2, 50)).remaining == 49  # another key's


async def test_calls_are_taken_in_advance_while_plenty_are_left_and_one_by_one_then(
    processes, settings, long_window
) -> None:
    """Of 1,000 a minute each process takes up to ten more than it was asked for, until fewer than ten are left to the key."""
    with Redis.from_url(str(settings.redis_url)) as client:
        assert (await processes[0].take(1, 1000)).remaining == 999
        assert client.hget(f"{settings.redis_namespace}:calls:1", "c") == b"11"
        answers = [await processes[0].take(1, 1000) for _ in range(10)]
        assert [answer.remaining for answer in answers] == list(range(998, 988, -1))
        assert client.hget(f"{settings.redis_namespace}:calls:1", "c") == b"11"
        granted = 11
        while (await processes[granted % 3].take(1, 1000)).granted:
            granted += 1
        assert client.hget(f"{settings.redis_namespace}:calls:1", "c") == b"1000"
    assert granted == 1000


async def test_what_was_taken_in_advance_ends_with_its_minute(processes, settings, monkeypatch) -> None:
    with Redis.from_url(str(settings.redis_url)) as client:
        seconds, _ = client.time()
        monkeypatch.setattr(limits, "WINDOW", seconds + 2)  # it ends two seconds from now
        await processes[0].take(1, 1000)
        await asyncio.sleep(2.2)
        await processes[0].take(1, 1000)
        assert client.hget(f"{settings.redis_namespace}:calls:1", "n") == b"1"
        assert client.hget(f"{settings.redis_namespace}:calls:1", "c") == b"11"


@pytest.mark.parametrize(
    ("before", "granted"),
    [(0, 10), (5, 5), (10, 0), (100, 0)],
)
async def test_the_minute_before_counts_by_what_is_left_of_it(
    processes, settings, monkeypatch, before: int, granted: int
) -> None:
    """The window has just begun, so what was called in the one before still counts nearly whole."""
    with Redis.from_url(str(settings.redis_url)) as client:
        seconds, _ = client.time()
        monkeypatch.setattr(limits, "WINDOW", seconds - 1)  # the first window ended a second ago
        client.hset(f"{settings.redis_namespace}:calls:1", mapping={"n": 0, "c": before, "p": 0})
    answers = [await processes[0].take(1, 10) for _ in range(20)]
    # A tenth of a millionth of the window has passed, which lets one more through.
    assert granted <= sum(answer.granted for answer in answers) <= granted + 1


async def test_what_lies_further_back_does_not_count(processes, settings, long_window) -> None:
    with Redis.from_url(str(settings.redis_url)) as client:
        n = client.time()[0] // long_window
        client.hset(f"{settings.redis_namespace}:calls:1", mapping={"n": n - 2, "c": 1000, "p": 1000})
    assert (await processes[0].take(1, 10)).remaining == 9


async def test_who_has_to_wait_may_call_when_it_is_over(processes, monkeypatch) -> None:
    monkeypatch.setattr(limits, "WINDOW", 1)
    while (answer := await processes[0].take(1, 3)).granted:
        pass
    await asyncio.sleep(answer.seconds)
    assert (await processes[0].take(1, 3)).granted


async def test_the_counts_do_not_stay(processes, settings, long_window) -> None:
    await processes[0].take(1, 10)
    with Redis.from_url(str(settings.redis_url)) as client:
        assert 0 < client.ttl(f"{settings.redis_namespace}:calls:1") <= 2 * long_window


async def test_without_redis_each_process_counts_for_itself(settings, long_window) -> None:
    limiter = Limiter(without_redis(settings))
    answers = [await limiter.take(1, 5) for _ in range(8)]
    assert [answer.granted for answer in answers] == [True] * 5 + [False] * 3
    assert (await limiter.take(2, 5)).granted
    await limiter.close()


async def test_a_redis_that_is_back_counts_again(settings, monkeypatch, long_window) -> None:
    monkeypatch.setattr(limits, "REST", 0.0)
    limiter, lost = Limiter(settings), Limiter(without_redis(settings))
    script = limiter._script
    limiter._script = lost._script
    assert (await limiter.take(1, 99)).granted
    limiter._script = script
    await limiter.take(1, 99)
    with Redis.from_url(str(settings.redis_url)) as client:
        assert client.hget(f"{settings.redis_namespace}:calls:1", "c") == b"1"
    await limiter.close()
    await lost.close()


async def test_a_redis_that_was_restarted_learns_the_script_again(processes, settings, long_window) -> None:
    assert (await processes[0].take(1, 99)).granted
    with Redis.from_url(str(settings.redis_url)) as client:
        client.script_flush()
    assert (await processes[0].take(1, 99)).remaining == 97


async def test_who_goes_away_while_waiting_holds_up_nobody(processes, long_window) -> None:
    gone = asyncio.ensure_future(processes[0].take(1, 100))
    others = [asyncio.ensure_future(processes[0].take(1, 100)) for _ in range(3)]
    await asyncio.sleep(0)
    gone.cancel()
    assert all(answer.granted for answer in await asyncio.gather(*others))


async def test_too_many_calls_get_a_time_to_come_back_and_change_nothing(bare, database, new_key, long_window) -> None:
    headers = bearer(await new_key(Scope.SUBMIT, rate_limit=3))
    answers = [await bare.simulate_post(ROUTE, json=GOOD, headers=headers) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0", "0"]
    assert {answer.headers["ratelimit-limit"] for answer in answers} == {"3"}
    refused = answers[-1]
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json["type"] == "urn:beat:problem:too_many_calls"
    assert refused.headers["retry-after"] == refused.headers["ratelimit-reset"]
    assert int(refused.headers["retry-after"]) > 0
    async with database.transaction() as transaction:
        assert await transaction.value("SELECT count(*) FROM scrape_request_log") == 3
    other = bearer(await new_key(Scope.SUBMIT, rate_limit=3))
    assert (await bare.simulate_post(ROUTE, json=GOOD, headers=other)).status_code == 202
    assert (await bare.simulate_get("/healthz", headers=headers)).status_code == 200


async def test_who_may_not_is_counted_too(bare, new_key, long_window) -> None:
    headers = bearer(await new_key(Scope.READ, rate_limit=2))
    answers = [await bare.simulate_post(ROUTE, json=GOOD, headers=headers) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [403, 403, 429, 429]
    for name in ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"):
        assert all(name in answer.headers for answer in answers)


async def test_without_redis_a_request_is_accepted_and_a_bad_key_is_not(
    settings, wake_ups: WakeUps, new_key: Keys
) -> None:
    headers = bearer(await new_key(Scope.SUBMIT, rate_limit=1000))
    async with ASGIConductor(app_over(without_redis(settings), wake_ups)) as api:
        for _ in range(5):
            assert (await api.simulate_post(ROUTE, json=GOOD, headers=headers)).status_code == 202
        assert (await api.simulate_post(ROUTE, json=GOOD)).status_code == 401
        assert (await api.simulate_get(ROUTE, headers=headers)).status_code == 403


@pytest.mark.parametrize("field", ["n", "c", "p", None])
@pytest.mark.parametrize("said", ["-1", "nan", "inf", "1e300", "words", "", "9" * 400])
async def test_what_stands_under_a_keys_name_in_redis_counts_no_other_key_alone(
    settings: Settings, processes: list[Limiter], field: str | None, said: str
) -> None:
    """`None`: a key of another type."""
    with Redis.from_url(str(settings.redis_url)) as client, capture_logs() as logs:
        name = f"{settings.redis_namespace}:calls:1"
        if field is None:
            client.rpush(name, said)
        else:
            minute = client.time()[0] // 60
            client.hset(name, mapping={"n": minute, "c": 1, "p": 1} | {field: said})
        both = await asyncio.gather(processes[0].take(1, 10), processes[0].take(2, 10))
    assert both[1].granted
    assert not any(one["event"] == "calls_counted_alone" for one in logs)


def test_a_connection_that_was_reset_counts_as_a_redis_that_is_away(settings: Settings, long_window: int) -> None:
    """In the event loop of the API, uvloop's, whose connections raise no `OSError` when they were reset."""
    port = urlsplit(str(settings.redis_url)).port
    assert port is not None

    async def calls(proxy: Proxy) -> list[Allowance]:
        limiter = Limiter(
            settings.model_copy(update={"redis_url": str(settings.redis_url).replace(f":{port}", f":{proxy.port}")})
        )
        answers = [await limiter.take(1, 99)]
        await asyncio.to_thread(proxy.reset_all)
        await asyncio.sleep(0.2)
        answers += await asyncio.gather(*(limiter.take(1, 99) for _ in range(3)))
        await limiter.close()
        return answers

    with (
        Proxy.running(port) as proxy,
        capture_logs() as logs,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        answers = runner.run(calls(proxy))
    assert [answer.remaining for answer in answers] == [98, 98, 97, 96]
    assert [line["error"] for line in logs if line["event"] == "calls_counted_alone"] == ["ConnectionError"]


async def test_each_call_has_its_answer_whatever_the_count_raises(
    settings: Settings, long_window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = Limiter(settings)

    async def fails(**_: object) -> object:
        raise RuntimeError("an error that no driver should raise")

    monkeypatch.setattr(limiter, "_script", fails)
    with capture_logs() as logs:
        answers = await asyncio.gather(*(limiter.take(1, 2) for _ in range(3)))
    assert [answer.granted for answer in answers] == [True, True, False]
    assert [line["event"] for line in logs] == ["calls_not_counted"]
    await limiter.close()


async def test_a_count_that_does_not_end_keeps_no_call(
    settings: Settings, long_window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TIMEOUT", 0.05)
    limiter, ends = Limiter(settings), asyncio.Event()

    async def hangs(**_: object) -> object:
        """As the end of a connection that does not end."""
        while not ends.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await ends.wait()
        raise RedisError

    monkeypatch.setattr(limiter, "_script", hangs)
    async with asyncio.timeout(10):
        assert [(await limiter.take(1, 2)).granted for _ in range(3)] == [True, True, False]
    ends.set()
    await limiter.close()
