"""Limits are exact, keys are judged, and the ledger holds every call."""

import asyncio
import time
from hashlib import sha256

import pytest

from beat_actors.simulator import SimulatedProvider, SimulatorClient, Window
from beat_actors.simulator.quotas import Quotas
from beat_actors.simulator.registry import simulated_providers
from tests.integration.simulator.conftest import PEOPLE, Caller

SOURCES = ("graphapi", "arraybobo", "jotucker", "bestsolutions", "lama")
REFUSED = {"graphapi": 403}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def provider_with(*windows: Window) -> SimulatedProvider:
    whole = simulated_providers()["lama"]
    return SimulatedProvider(whole.name, whole.operations, whole.refusals, windows)


def test_the_defaults_are_the_providers_own() -> None:
    rolling = {
        name: [(w.calls, w.seconds) for w in d.limits if not w.quota] for name, d in simulated_providers().items()
    }
    expected = {
        "graphapi": (200, 3600),
        "arraybobo": (100, 30),
        "jotucker": (5, 1),
        "bestsolutions": (2, 1),
        "lama": (15, 1),
    }
    assert {name: rolling[name] for name in expected} == {name: [limit] for name, limit in expected.items()}


def test_a_window_slides_to_the_moment() -> None:
    clock = Clock()
    quotas, provider = Quotas(clock=clock), provider_with(Window(2, 10))
    assert quotas.charge(provider, "a").refused_by is None
    clock.now += 6
    assert quotas.charge(provider, "a").refused_by is None
    clock.now += 3.9
    assert quotas.charge(provider, "a").wait == pytest.approx(0.1)
    assert quotas.charge(provider, "b").refused_by is None
    clock.now += 0.1
    assert quotas.charge(provider, "a").refused_by is None
    assert quotas.charge(provider, "a").wait == pytest.approx(6)


def test_stacked_windows_are_taken_all_or_nothing() -> None:
    clock = Clock()
    quotas, provider = Quotas(clock=clock), provider_with(Window(1, 1), Window(3, 100, quota=True))
    for _ in range(5):
        quotas.charge(provider, "a")
    assert quotas.charge(provider, "a").quota_left == 2
    for _ in range(2):
        clock.now += 1
        assert quotas.charge(provider, "a").refused_by is None
    clock.now += 1
    assert quotas.charge(provider, "a").refused_by == Window(3, 100, quota=True)
    clock.now += 100
    assert quotas.charge(provider, "a").refused_by is None


def test_a_window_may_count_some_operations_only() -> None:
    clock = Clock()
    searches = Window(1, 100, quota=True, operations=frozenset({"search"}))
    quotas, provider = Quotas(clock=clock), provider_with(Window(2, 100), searches)
    assert quotas.charge(provider, "a", operation="search").refused_by is None
    assert quotas.charge(provider, "a", operation="search").refused_by == searches
    assert quotas.charge(provider, "a", operation="profile").refused_by is None
    assert quotas.charge(provider, "a", operation="profile").refused_by == Window(2, 100)


@pytest.mark.parametrize(
    ("zone", "at", "hours"),
    [("UTC", 1_767_268_800.0, 12), ("America/Los_Angeles", 1_772_960_400.0, 22)],  # 1:00 on a day of 23 hours
)
def test_a_quota_may_be_given_out_at_midnight(zone: str, at: float, hours: int) -> None:
    clock = Clock()
    quotas = Quotas(clock=clock, today=lambda: at + clock.now - 1000)
    provider = provider_with(Window(1, 86_400, quota=True, calendar=zone))
    assert quotas.charge(provider, "a").refused_by is None
    assert quotas.charge(provider, "a").wait == hours * 3600
    clock.now += hours * 3600 - 1
    assert quotas.charge(provider, "a").wait == 1
    clock.now += 1
    assert quotas.charge(provider, "a").refused_by is None
    assert quotas.charge(provider, "a").wait == 24 * 3600
    with pytest.raises(ValueError, match="is a quota"):
        Window(1, 86_400, calendar=zone)


@pytest.mark.parametrize("source", SOURCES)
async def test_no_call_above_the_limit_is_served_and_each_is_counted(
    caller: Caller, admin: SimulatorClient, source: str
) -> None:
    await admin.set_limits(source=source, windows=[(7, 3600)])
    got = await asyncio.gather(*(caller.profile(source, f"creator_{n:06d}") for n in range(20)))
    assert sorted(each.status for each in got) == [200] * 7 + [REFUSED.get(source, 429)] * 13
    assert (await caller.profile(source, key="another")).status == 200
    entry = (await admin.ledger())["by_source"][source]
    assert (entry["calls"], entry["ok"], entry["over_limit"]) == (21, 8, 13)
    mine = sha256(b"key-1").hexdigest()[:12]
    assert entry["by_credential"][mine] == 20
    assert entry["over_limit_by_credential"] == {mine: 13}
    assert entry["by_operation"] == {"profile_by_handle": 21}


async def test_limits_are_switched_off_for_a_benchmark(caller: Caller, admin: SimulatorClient) -> None:
    await admin.set_limits(enabled=False)
    got = [await caller.profile("bestsolutions") for _ in range(10)]
    assert {each.status for each in got} == {200}
    assert {each.headers["x-ratelimit-requests-remaining"] for each in got} == {"240000"}


async def test_a_key_may_have_limits_of_its_own(caller: Caller, admin: SimulatorClient) -> None:
    await admin.add_credential("arraybobo", "small", quota=(3, 864_000))
    got = [await caller.profile("arraybobo", key="small") for _ in range(4)]
    assert [each.status for each in got] == [200, 200, 200, 429]
    assert [each.headers["x-ratelimit-requests-remaining"] for each in got] == ["2", "1", "0", "0"]
    assert 863_000 < int(got[-1].headers["x-ratelimit-requests-reset"]) <= 864_000
    assert b"MONTHLY quota" in got[-1].body


async def test_the_graph_reports_its_usage_in_percent(caller: Caller, admin: SimulatorClient) -> None:
    await admin.set_limits(source="graphapi", windows=[(4, 3600)])
    got = [await caller.profile("graphapi") for _ in range(5)]
    assert ['"call_count":50' in each.headers["x-app-usage"] for each in got][1]
    assert '"call_count":100' in got[4].headers["x-app-usage"]
    assert '"estimated_time_to_regain_access":60' in got[4].headers["x-business-use-case-usage"]


@pytest.mark.parametrize(
    ("source", "without", "revoked"),
    [
        ("graphapi", 400, 400),
        ("arraybobo", 401, 403),
        ("jotucker", 401, 403),
        ("bestsolutions", 401, 403),
        ("lama", 401, 401),
    ],
)
async def test_keys_are_judged(caller: Caller, admin: SimulatorClient, source: str, without: int, revoked: int) -> None:
    assert (await caller.profile(source, key="")).status == without
    await admin.add_credential(source, "dead", revoked=True)
    assert (await caller.profile(source, key="dead")).status == revoked
    assert (await caller.profile(source, key="whatever")).status == 200
    await admin.accept_any(False)
    assert (await caller.profile(source, key="whatever")).status == revoked
    await admin.add_credential(source, "good")
    assert (await caller.profile(source, key="good")).status == 200


async def test_debug_token_and_balance_cost_what_they_cost(caller: Caller, admin: SimulatorClient) -> None:
    await admin.add_credential("graphapi", "dead", revoked=True)
    for token, valid in (("dead", False), ("fine", True)):
        got = await caller.get("graphapi", "/debug_token", {"input_token": token})
        assert got.json()["data"]["is_valid"] is valid
    for _ in range(20):
        assert (await caller.get("lama", "/sys/balance")).status == 200


async def test_a_key_has_scopes_and_ends(caller: Caller, admin: SimulatorClient) -> None:
    now = int(time.time())
    await admin.add_credential("graphapi", "poor", scopes=["pages_show_list"])
    await admin.add_credential("graphapi", "stale", data_access_expires_at=now - 1)
    await admin.add_credential("graphapi", "over", expires_at=now - 1)
    await admin.add_credential("graphapi", "good", expires_at=now + 60, scopes=["instagram_basic"])
    own = f"/{PEOPLE.person(42).fbid}"
    for key, error in (
        ("poor", (100, 33)),
        ("stale", (100, 33)),
        ("over", (190, 460)),
        ("good", None),
        ("other", None),
    ):
        got = (await caller.get("graphapi", own, {"fields": "id"}, key)).json()
        assert (got["error"]["code"], got["error"]["error_subcode"]) == error if error else "id" in got
    told = (await caller.get("graphapi", "/debug_token", {"input_token": "good"}, "good")).json()["data"]
    assert (told["is_valid"], told["expires_at"], told["scopes"]) == (True, now + 60, ["instagram_basic"])
    assert (await caller.get("graphapi", "/debug_token", {"input_token": "over"}, "good")).json()["data"][
        "is_valid"
    ] is False
    assert (await caller.profile("graphapi", key="poor")).status == 200  # anybody may be discovered


async def test_an_unknown_path_is_answered_as_the_provider_does(caller: Caller) -> None:
    assert b"Endpoint '/nowhere' does not exist" in (await caller.get("jotucker", "/nowhere")).body
    assert (await caller.get("graphapi", "/a/b/c")).json()["error"]["code"] == 2500
    assert (await caller.get("lama", "/nowhere")).status == 404
    assert (await caller.raw("nobody/at/all")).status == 404
