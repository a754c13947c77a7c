"""A refresh on demand through the API: accepted, refused so that every client understands it, or deferred."""

import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import falcon.testing
import psycopg
import pytest
import redis

from beat_actors.access import keys
from beat_actors.access.keys import NewKey
from beat_actors.access.scopes import Scope
from beat_actors.broker.turn import turn
from beat_actors.database import Database
from beat_actors.engine import Engine
from beat_actors.platforms.interface import Limit, OnDemand, Platform, RequestLimit
from beat_actors.quotas.off_peak import moment
from beat_actors.requests import intake, sweeps
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import LimitChange, Settings
from tests.integration.api.conftest import WakeUps, app_over, bearer
from tests.worlds import TOY, First, MovableClock, ScriptedClient, answer, engine_with, registered

KNOWN_KEY = "beat_server_refresh_profile_insta_daily"
HANDLES = (f"creator_{n}" for n in range(10**9))
Client = falcon.testing.ASGIConductor


def route(handle: str | None = None, platform: str = "instagram") -> str:
    return f"/v1/profiles/{platform}/{handle or next(HANDLES)}/refresh"


def changed(settings: Settings, **limits: LimitChange) -> Settings:
    return settings.model_copy(update={"limits": limits})


@pytest.fixture
def wake_ups() -> WakeUps:
    return WakeUps()


@pytest.fixture
async def open_api(settings: Settings, wake_ups: WakeUps, database: Database) -> Callable[..., Client]:
    async with database.transaction() as transaction:
        key = await keys.create(transaction, NewKey("test", (Scope.ADMIN,), None, 100_000), actor="test")
    return lambda with_settings=settings: Client(app_over(with_settings, wake_ups), headers=bearer(key))


async def rows(database: Database, sql: str, *params) -> list:
    async with database.transaction() as transaction:
        return await transaction.rows(sql, params)


async def test_a_refresh_is_a_request_of_the_platforms_own_flow(open_api, database, wake_ups) -> None:
    async with open_api() as api:
        accepted = await api.simulate_post(route("@Creator.One"), json={"priority": "customer", "account_id": "acme"})
        typed = await api.simulate_post(route(), headers={"Content-Type": "application/json"}, body=b"")
    assert (accepted.status_code, accepted.json["deferred_to"], typed.status_code) == (202, None, 202)
    assert accepted.headers["location"] == f"/v1/scrape-requests/{accepted.json['id']}"
    assert wake_ups.asked == ["instagram", "instagram"]
    (row, _) = await rows(
        database, "SELECT flow, params, priority, account_id, on_demand FROM scrape_request_log ORDER BY id"
    )
    params = {"handle": "creator.one", "posts": 12}
    assert tuple(row) == ("refresh_profile_by_handle", params, 1, "acme", True)


async def test_s9_3_a_refusal_is_a_problem_and_for_old_clients_what_they_always_got(open_api, database) -> None:
    async with open_api() as api:
        first = await api.simulate_post(route("creator"))
        assert first.headers["ratelimit-policy"].startswith('"refresh_profile_insta_daily";q=20000;w=86400, ')
        assert first.headers["ratelimit"].startswith('"refresh_profile_insta_daily";r=19999;t=')
        assert first.headers["ratelimit-remaining"] == "59"
        refused = await api.simulate_post(route("Creator"))
        old = await api.simulate_post(route("creator"), headers={"Accept": "application/json"})
    assert refused.status_code == old.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    said = refused.json
    assert (said["code"], said["title"], said["status"]) == (2, "Concurrency Limit Exceeded", 429)
    assert (said["limit"], said["type"]) == ("refresh_profile_insta_handle", "urn:beat:problem:rate_limited")
    assert refused.headers["retry-after"] == str(said["retry_after"])
    assert 1 <= said["retry_after"] <= 2
    assert old.headers["content-type"] == "application/json"
    assert old.json == {"status": {"type": "ERROR", "message": "Concurrency Limit Exceeded", "code": 2}}
    assert old.headers["retry-after"]
    assert old.headers["ratelimit-limit"] == "1"
    assert len(await rows(database, "SELECT FROM scrape_request_log")) == 1


async def test_s9_4_and_s9_9_operators_find_the_counter_by_its_known_name(
    settings: Settings, open_api, valkey: redis.Redis
) -> None:
    """The key is the same for every installation; this process's tests share one server, and only this one uses it."""
    known = changed(
        settings.model_copy(update={"limit_prefix": Settings.model_fields["limit_prefix"].default}),
    )
    for key in valkey.scan_iter("beat_server_*"):
        valkey.delete(key)
    async with open_api(known) as api:
        for _ in range(7):
            assert (await api.simulate_post(route())).status_code == 202
        assert valkey.get(KNOWN_KEY) == "7"
        assert 86_400 <= valkey.ttl(KNOWN_KEY) <= 86_400 * 1.001 + 1
        valkey.set(KNOWN_KEY, 20_000)
        assert (await api.simulate_post(route())).json["limit"] == "refresh_profile_insta_daily"
        valkey.delete(KNOWN_KEY)
        assert (await api.simulate_post(route())).status_code == 202
        assert valkey.get(KNOWN_KEY) == "1"


async def test_s9_5_a_refusal_on_demand_stops_no_other_work(settings: Settings, open_api, database, wake_ups) -> None:
    async with open_api(changed(settings, refresh_profile_insta_minute=LimitChange(calls=1))) as api:
        assert (await api.simulate_post(route())).status_code == 202
        assert (await api.simulate_post(route())).status_code == 429
        request = {"platform": "instagram", "flow": "refresh_profile_by_handle", "params": {"handle": "other"}}
        assert (await api.simulate_post("/v1/scrape-requests", json=request)).status_code == 202
    counted = await rows(database, "SELECT on_demand, count(*) FROM scrape_request_log GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in counted] == [(False, 1), (True, 1)]


class Scarce(First):
    name = "scarce"
    limits = (Limit("day", 5, 86_400),)


PROFILED = Platform(
    name="profiled",
    sources={"scarce": Scarce()},
    chains={"look": ("scarce",)},
    flows=TOY.flows,
    entities=(),
    on_demand=OnDemand("look", "name", (RequestLimit("look_daily", 4, 86_400), RequestLimit("look_minute", 3, 60))),
)


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    engine = engine_with(settings, ScriptedClient(lambda source, call: answer()))
    with registered(PROFILED):
        yield engine
    await engine.close()


@pytest.fixture
def clock(database_url: str) -> MovableClock:
    clock = MovableClock(database_url)
    yield clock
    clock.close()


async def test_s9_5_one_ledger_caps_what_was_asked_on_demand_and_otherwise(open_api, engine: Engine) -> None:
    """Three on demand and ten at leisure: the provider sees five, whoever asked; those who wait on demand go by priority."""
    await engine.credentials.add("scarce", {"key": "a"})
    await intake.accept(engine.database, [NewRequest("profiled", "look", {"name": f"n{n}"}) for n in range(10)])
    async with open_api() as api:
        for _ in range(3):
            wanted = {"priority": "customer"}
            assert (await api.simulate_post(route(platform="profiled"), json=wanted)).status_code == 202
        assert (await api.simulate_post(route(platform="profiled"))).status_code == 429
    leased = (await turn(engine.database, PROFILED)).leased
    assert len(leased) == 5
    assert (await turn(engine.database, PROFILED)).leased == []
    on_demand = await rows(
        engine.database,
        "SELECT r.on_demand FROM scrape_fetch f JOIN scrape_request_log r ON r.id = f.request_id WHERE f.id = ANY(%s)",
        leased,
    )
    assert sorted(row.on_demand for row in on_demand) == [False, False, True, True, True]


async def test_s9_11_batch_work_over_the_budget_runs_off_peak(clock, open_api, engine: Engine, wake_ups) -> None:
    await engine.credentials.add("scarce", {"key": "a"})
    async with open_api() as api:
        for _ in range(3):
            assert (await api.simulate_post(route(platform="profiled"))).status_code == 202
        wake_ups.asked.clear()
        deferred = await api.simulate_post(route(platform="profiled"), json={"priority": "batch"})
        assert deferred.status_code == 202
        why = await api.simulate_get(f"/v1/scrape-requests/{deferred.json['id']}/explain")
        too_late = {"priority": "batch", "expires_at": (datetime.now(UTC) + timedelta(seconds=1)).isoformat()}
        assert (await api.simulate_post(route(platform="profiled"), json=too_late)).status_code == 429
    assert wake_ups.asked == []
    at = datetime.fromisoformat(deferred.json["deferred_to"])
    assert at.hour >= 22 or at.hour < 6
    assert "the limit look_minute was reached" in why.json["summary"]
    assert datetime.fromisoformat(why.json["next_attempt_at"]) == at
    assert len((await turn(engine.database, PROFILED)).leased) == 3
    clock.advance(at.timestamp() - clock.now() + 0.5)
    assert set((await sweeps.due(engine.database)).wake) == {"profiled"}
    (fetch,) = (await turn(engine.database, PROFILED)).leased
    (row,) = await rows(
        engine.database,
        "SELECT r.id, r.on_demand FROM scrape_fetch f JOIN scrape_request_log r ON r.id = f.request_id WHERE f.id = %s",
        fetch,
    )
    assert tuple(row) == (deferred.json["id"], False)


async def test_s9_12_batch_finds_the_reserve_closed_and_a_customer_does_not(settings: Settings, open_api) -> None:
    with registered(_with_limits("kept", RequestLimit("kept_daily", 4, 86_400, reserve=0.5))):
        async with open_api() as api:

            async def ask(priority: str) -> tuple[int, bool]:
                said = await api.simulate_post(route(platform="kept"), json={"priority": priority})
                return said.status_code, bool(said.json.get("deferred_to"))

            assert [await ask("batch") for _ in range(3)] == [(202, False), (202, False), (202, True)]
            assert [await ask("customer") for _ in range(3)] == [(202, False), (202, False), (429, False)]


def _with_limits(name: str, *limits: RequestLimit) -> Platform:
    return Platform(
        name=name,
        sources={"toy-first": First()},
        chains={"look": ("toy-first",)},
        flows=TOY.flows,
        entities=(),
        on_demand=OnDemand("look", "name", limits),
    )


async def test_an_idempotent_repetition_counts_once(open_api, valkey: redis.Redis, settings: Settings) -> None:
    with registered(_with_limits("twice", RequestLimit("twice_daily", 100, 86_400))):
        async with open_api() as api:
            headers = {"Idempotency-Key": uuid.uuid4().hex}
            first, again = [await api.simulate_post(route("a", "twice"), headers=headers) for _ in range(2)]
            assert first.json["created"]
            assert first.content == again.content
            other = await api.simulate_post(route("b", "twice"), headers=headers)
            assert other.status_code == 409
    assert valkey.get(f"{settings.limit_prefix}twice_daily") == "1"


async def test_a_repetition_gets_the_first_answer_whatever_the_limits_say(open_api, settings: Settings) -> None:
    """One second is all that a handle has, and a client that lost an answer asks again within it."""
    async with open_api() as api:
        headers = {"Idempotency-Key": "again"}
        first = await api.simulate_post(route("creator"), headers=headers)
        again = await api.simulate_post(route("creator"), headers=headers)
        assert (first.status_code, first.content) == (202, again.content)
        assert again.headers["idempotency-replayed"] == "true"
        other = await api.simulate_post(route("creator"), headers=headers, json={"priority": "batch"})
        assert other.status_code == 409
        assert (await api.simulate_post(route("creator"))).status_code == 429
        assert (await api.simulate_post(route("x"), headers={"Idempotency-Key": " "})).status_code == 400
    closed = changed(settings, refresh_profile_insta_daily=LimitChange(calls=1))
    async with open_api(closed) as api:
        batch, headers = {"priority": "batch"}, {"Idempotency-Key": "deferred"}
        await api.simulate_post(route(), json={"priority": "customer"})
        first = await api.simulate_post(route("late"), json=batch, headers=headers)
        again = await api.simulate_post(route("late"), json=batch, headers=headers)
        assert first.json["deferred_to"] is not None
        assert (first.status_code, first.json) == (again.status_code, again.json)


async def test_what_cannot_be_stored_is_not_counted(settings: Settings, open_api, valkey: redis.Redis) -> None:
    """The budget is not burnt while PostgreSQL is away."""
    with registered(_with_limits("brief", RequestLimit("brief_minute", 100, 60))):
        async with open_api() as api:
            assert (await api.simulate_post(route("a", "brief"))).status_code == 202
        gone = settings.model_copy(update={"database_url": "postgresql://beat@127.0.0.1:9/none"})
        async with open_api(gone) as api:
            assert (await api.simulate_post(route("b", "brief"))).status_code == 503
    assert valkey.get(f"{settings.limit_prefix}brief_minute") == "1"


async def test_without_redis_nothing_is_given_and_batch_work_is_deferred(
    settings: Settings, open_api, database
) -> None:
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:9/0"})
    async with open_api(away) as api:
        refused = await api.simulate_post(route(), json={"priority": "customer"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert refused.json["type"] == "urn:beat:problem:limits_unavailable"
        assert "127.0.0.1" not in refused.text
        deferred = await api.simulate_post(route(), json={"priority": "batch"})
        assert (deferred.status_code, bool(deferred.json["deferred_to"])) == (202, True)
        assert (await api.simulate_get("/v1/limits")).status_code == 503
    assert [row.on_demand for row in await rows(database, "SELECT on_demand FROM scrape_request_log")] == [False]


async def test_a_redis_that_lost_everything_does_not_open_a_second_day(
    settings: Settings, open_api, valkey: redis.Redis, database_url: str
) -> None:
    small = changed(settings, refresh_profile_insta_daily=LimitChange(calls=3))

    def lose() -> None:
        for key in valkey.scan_iter(f"{settings.limit_prefix}*"):
            valkey.delete(key)

    async with open_api(small) as api:
        customer = {"priority": "customer"}
        for _ in range(3):
            assert (await api.simulate_post(route(), json=customer)).status_code == 202
        lose()
        refused = await api.simulate_post(route(), json=customer)
        assert (refused.status_code, refused.json["limit"]) == (429, "refresh_profile_insta_daily")
        assert refused.json["retry_after"] > 86_000
        assert valkey.get(f"{settings.limit_prefix}refresh_profile_insta_daily") == "3"
        reset = await api.simulate_post("/v1/limits/refresh_profile_insta_daily/reset", json={"reason": "a launch"})
        assert reset.json == {"name": "refresh_profile_insta_daily", "used_before": 3}
        assert (await api.simulate_post(route(), json=customer)).status_code == 202
        lose()  # what was before the reset is not told again
        for expected in (202, 202, 429):
            assert (await api.simulate_post(route(), json=customer)).status_code == expected
        lose()
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("UPDATE scrape_request_log SET created_at = created_at - interval '1 day 2 minutes'")
        assert (await api.simulate_post(route(), json=customer)).status_code == 202


async def test_the_forecast_has_limits_pools_and_what_waits(open_api) -> None:
    async with open_api() as api:
        await api.simulate_post(route())
        found = (await api.simulate_get("/v1/forecast")).json
    assert [one["name"] for one in found["budgets"]] == ["refresh_profile_insta_daily"]
    assert found["pools"] == []  # there are no credentials
    (backlog,) = found["backlogs"]
    assert (backlog["fetches"], backlog["more"], backlog["priority"]) == (1, False, "standard")
    assert backlog["expected"]["at"] is not None
    assert backlog["expected"]["basis"].startswith("1 fetch is ahead of it; no pace is known")


async def test_limits_are_shown_with_pace_and_forecast_and_reset_on_record(
    settings: Settings, open_api, database
) -> None:
    async with open_api() as api:
        for _ in range(3):
            await api.simulate_post(route())
        found = {one["name"]: one for one in (await api.simulate_get("/v1/limits")).json["limits"]}
        daily, each = found["refresh_profile_insta_daily"], found["refresh_profile_insta_handle"]
        assert (daily["used"], daily["left"], daily["left_for_batch"]) == (3, 19_997, 17_997)
        assert daily["key"] == f"{settings.limit_prefix}refresh_profile_insta_daily"
        assert daily["rate"] > 0
        assert round(daily["even_rate"]) == 833
        assert (each["per_handle"], each["used"]) == (True, None)
        assert found["refresh_profile_insta_daily_pace"]["calls"] == 750
        name = f"/v1/limits/{settings.limit_prefix}refresh_profile_insta_daily/reset"
        assert (await api.simulate_post(name, json={"reason": "  "})).status_code == 400
        assert (await api.simulate_post("/v1/limits/nonsense/reset", json={"reason": "x"})).status_code == 404
        each_reset = await api.simulate_post("/v1/limits/refresh_profile_insta_handle/reset", json={"reason": "x"})
        assert each_reset.status_code == 400
        assert (await api.simulate_post(name, json={"reason": "a launch"})).json["used_before"] == 3
        found = {one["name"]: one for one in (await api.simulate_get("/v1/limits")).json["limits"]}
        assert found["refresh_profile_insta_daily"]["used"] == 0
    (record,) = await rows(database, "SELECT actor, action, target, detail FROM audit_log WHERE action LIKE 'limit.%%'")
    detail = {"reason": "a launch", "used": 3, "calls": 20_000}
    assert tuple(record) == ("key:1", "limit.reset", "limit/refresh_profile_insta_daily", detail)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (route(platform="shopify"), None, 404),
        (route(platform="nowhere"), None, 400),
        (route("no!handle"), None, 400),
        (route(), {"priority": "at once"}, 400),
        (route(), {"unknown": 1}, 400),
        (route(), {"expires_at": "2030-01-01T00:00:00"}, 400),
        (route(), {"expires_at": "2020-01-01T00:00:00Z"}, 400),
    ],
)
async def test_what_is_not_understood_is_not_counted(open_api, valkey, settings, path, body, status) -> None:
    async with open_api() as api:
        said = await api.simulate_post(path, json=body) if body else await api.simulate_post(path)
    assert said.status_code == status
    assert list(valkey.scan_iter(f"{settings.limit_prefix}*")) == []


def test_s9_11_off_peak_is_the_hours_that_come_next_or_what_is_left_of_them() -> None:
    def at(text: str, hours: str, share: float) -> str:
        return moment(datetime.fromisoformat(text).replace(tzinfo=UTC), hours, share).strftime("%d %H:%M")

    assert at("2031-01-01T12:00", "22-6", 0.0) == "01 22:00"
    assert at("2031-01-01T12:00", "22-6", 0.5) == "02 02:00"
    assert at("2031-01-01T23:00", "22-6", 0.0) == "01 23:00"
    assert at("2031-01-02T02:00", "22-6", 0.5) == "02 04:00"
    assert at("2031-01-02T06:00", "22-6", 0.0) == "02 22:00"
    assert at("2031-01-01T12:00", "1-5", 1.0) == "02 05:00"
    assert at("2031-01-01T02:00", "1-5", 0.0) == "01 02:00"
    assert at("2031-01-01T12:00", "0-0", 0.0) == "01 12:00"
