"""One account takes at most its share of an on-demand budget: what it asks for does not refuse the others."""

import re
from collections.abc import AsyncIterator
from itertools import count as count_from
from typing import Any

import pytest
import redis

from beat_actors.access import keys
from beat_actors.access.keys import NewKey
from beat_actors.access.scopes import Scope
from beat_actors.database import Database
from beat_actors.errors import RateLimitError
from beat_actors.quotas import overview
from beat_actors.quotas.limiter import StackedLimiter
from beat_actors.quotas.stack import stacks
from beat_actors.requests.states import Priority
from beat_actors.settings import Settings
from tests.integration.api.conftest import WakeUps, app_over, bearer
from tests.integration.api.promised import Promised as Client
from tests.integration.quotas.conftest import ServerClock

MINUTE, HANDLE = "refresh_profile_insta_minute", "refresh_profile_insta_handle"
STANDING = re.compile(r'"(\w+)";r=(\d+)')
CUSTOMER = Priority.CUSTOMER
HANDLES = count_from(0)


@pytest.fixture
async def api(settings: Settings, database: Database) -> AsyncIterator[Any]:
    async with Client(app_over(settings, WakeUps())) as client:
        yield client


async def account_key(database: Database, account: str | None) -> dict[str, str]:
    async with database.transaction() as transaction:
        scopes = (Scope.SUBMIT, Scope.URGENT)
        return bearer(await keys.create(transaction, NewKey("test", scopes, account, 100_000), actor="test"))


async def refresh(api: Any, handle: str, headers: dict[str, str], priority: str = "customer") -> Any:
    path = f"/v1/profiles/instagram/{handle}/refresh"
    return await api.simulate_post(path, json={"priority": priority}, headers=headers)


async def takes(limiter: StackedLimiter, count: int, account: str | None) -> int:
    """How many of so many calls were given."""
    given = 0
    for _ in range(count):
        try:
            await limiter.take(limiter.stack_of("instagram"), f"h{next(HANDLES)}", CUSTOMER, account)
        except RateLimitError:
            continue
        given += 1
    return given


async def test_an_accounts_flood_leaves_the_rest_of_the_minute_to_the_others(api, database) -> None:
    acme, globex = await account_key(database, "acme"), await account_key(database, "globex")
    answers = [await refresh(api, f"h{n}", acme) for n in range(40)]
    assert [answer.status_code for answer in answers] == [202] * 30 + [429] * 10
    assert answers[-1].json["limit"] == f"{MINUTE}_share"
    assert answers[-1].headers["retry-after"] == str(answers[-1].json["retry_after"])
    assert (await refresh(api, "other", globex)).status_code == 202


async def test_an_account_sees_its_own_share_and_not_what_others_used(api, database) -> None:
    acme, globex = await account_key(database, "acme"), await account_key(database, "globex")
    for n in range(5):
        await refresh(api, f"h{n}", acme)
    told = (await refresh(api, "other", globex)).headers
    assert (told["ratelimit-limit"], told["ratelimit-remaining"]) == ("30", "29")
    assert f'"{MINUTE}_share";r=29' in told["ratelimit"]
    assert f'"{MINUTE}"' not in told["ratelimit"] + told["ratelimit-policy"]


async def test_what_others_ask_for_takes_no_handle_from_an_account_and_does_not_show(api, database) -> None:
    acme, globex, own = [await account_key(database, account) for account in ("acme", "globex", None)]
    alone = (await refresh(api, "h1", globex)).headers["ratelimit"]
    assert (await refresh(api, "creator", acme)).status_code == 202
    again = await refresh(api, "creator", acme)
    assert (again.status_code, again.json["limit"]) == (429, HANDLE)
    theirs = await refresh(api, "creator", globex)
    assert theirs.status_code == 202
    standing = {name: left for name, left in STANDING.findall(theirs.headers["ratelimit"]) if name == HANDLE}
    assert standing == {name: left for name, left in STANDING.findall(alone) if name == HANDLE} == {HANDLE: "0"}
    assert (await refresh(api, "creator", own)).status_code == 202


async def test_accounts_and_handles_with_signs_share_no_counter(database) -> None:
    limiter = StackedLimiter(database)
    (limit,) = [one for one in limiter.stack_of("instagram").limits if one.per_subject]
    asked = [("a:b", "c"), ("a", "b:c"), (None, "a:b:c"), ("a", "b%3Ac")]
    assert len({limiter.counter(limit, subject, account) for account, subject in asked}) == len(asked)
    await limiter.close()


async def test_batch_work_over_a_share_is_deferred(api, database) -> None:
    acme = await account_key(database, "acme")
    for n in range(27):
        await refresh(api, f"h{n}", acme)
    answer = await refresh(api, "late", acme, "batch")
    assert answer.status_code == 202
    assert answer.json["deferred_to"] is not None


async def test_the_installations_own_keys_may_take_the_whole_budget(
    limiter: StackedLimiter, server_clock: ServerClock
) -> None:
    assert await takes(limiter, 61, None) == 60


async def test_a_share_of_one_is_off(database: Database, settings: Settings) -> None:
    assert all(not stack.shares for stack in stacks(settings.model_copy(update={"on_demand_share": 1.0})).values())


async def test_a_refusal_takes_from_no_limit_and_no_share(limiter: StackedLimiter, valkey: redis.Redis) -> None:
    assert await takes(limiter, 30, "acme") == 30
    before = {key: valkey.dump(key) for key in valkey.scan_iter(f"{limiter.settings.limit_prefix}refresh*")}
    assert await takes(limiter, 1, "acme") == 0
    assert {key: valkey.dump(key) for key in valkey.scan_iter(f"{limiter.settings.limit_prefix}refresh*")} == before


async def test_what_is_given_back_is_the_accounts_again(limiter: StackedLimiter) -> None:
    await takes(limiter, 29, "acme")
    taken = await limiter.take(limiter.stack_of("instagram"), "last", CUSTOMER, "acme")
    assert await takes(limiter, 1, "acme") == 0
    await limiter.give_back(taken)
    assert await takes(limiter, 2, "acme") == 1


async def test_shares_end_with_their_window(limiter: StackedLimiter, server_clock: ServerClock, valkey) -> None:
    prefix = limiter.settings.limit_prefix
    assert await takes(limiter, 31, "acme") == 30
    held = list(valkey.scan_iter(f"{prefix}*acme"))
    assert len(held) == 6
    assert all(valkey.ttl(key) > 0 for key in held)
    server_clock.advance(60_061)
    assert await takes(limiter, 31, "acme") == 30


@pytest.mark.parametrize("by", ["DEL", "SET 0", "beat limits reset"])
async def test_who_empties_a_limit_empties_its_shares(
    limiter: StackedLimiter, database: Database, valkey: redis.Redis, by: str
) -> None:
    (minute,) = (limit for limit in limiter.stack_of("instagram").limits if limit.name == MINUTE)
    assert await takes(limiter, 31, "acme") == 30
    if by == "DEL":
        valkey.delete(limiter.counter(minute))
    elif by == "SET 0":
        valkey.set(limiter.counter(minute), 0)
    else:
        await overview.reset(database, limiter, MINUTE, actor="test", reason="test")
    assert await takes(limiter, 31, "acme") == 30
    assert await takes(limiter, 31, "globex") == 30
    assert int(valkey.get(limiter.counter(minute))) == 60
    assert await takes(limiter, 1, "third") == 0


async def test_a_limit_set_by_hand_leaves_the_shares_as_they_are(limiter: StackedLimiter, valkey: redis.Redis) -> None:
    (minute,) = (limit for limit in limiter.stack_of("instagram").limits if limit.name == MINUTE)
    valkey.delete(limiter.counter(minute))
    assert await takes(limiter, 30, "acme") == 30
    valkey.set(limiter.counter(minute), 10)
    assert await takes(limiter, 1, "acme") == 0
    assert await takes(limiter, 31, "globex") == 30
