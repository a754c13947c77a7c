"""What a provider says to be missing is remembered: requests for it fail at once, and the provider is asked again at growing intervals."""

import psycopg
import pytest

from beat_actors.requests import absences, retry
from beat_actors.requests.queries import get_request
from tests.worlds import answer

HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture
def gone(world):  # type: ignore[no-untyped-def]
    """A world in which nothing exists."""
    world.client.script = lambda source, call: answer(404)
    return world


async def test_a_request_for_what_is_missing_fails_at_once_and_says_when_it_is_asked_again(gone) -> None:
    first = await gone.ask()
    await gone.run()
    asked = len(gone.client.calls)
    assert asked >= 1
    again = await gone.ask(tags={"of": "again"})
    assert (again.accepted_as, again.created) == ("remembered", True)
    await gone.run()
    assert len(gone.client.calls) == asked
    request = await gone.request(again.id)
    assert (request.status, request.live, request.open_fetches) == ("FAILED", False, 0)
    error = request.data["error"]
    assert error["code"] == "missing"
    assert error["message"].startswith((await gone.request(first.id)).data["error"]["message"])
    assert "submit it with `force`" in error["message"]
    assert error["ask_again_at"] > error["said_at"]
    assert (again.id, "FAILED") in await gone.ends()
    async with gone.engine.database.transaction() as transaction:
        assert (await get_request(transaction, again.id)).accepted_as == "remembered"


async def test_the_same_idempotency_key_gets_the_same_answer(gone) -> None:
    await gone.ask()
    await gone.run()
    key = {"idempotency_key": "k", "idempotency_owner": "o"}
    once, twice = await gone.ask(**key), await gone.ask(**key)
    assert (once.id, once.accepted_as, once.created) == (twice.id, twice.accepted_as, not twice.created)


@pytest.mark.slow
async def test_a_missing_account_is_asked_for_once_a_day_and_later_once_a_week(gone, clock) -> None:
    await gone.ask()
    await gone.run()
    by_day = []
    for _ in range(40):
        before = len(gone.client.calls)
        for _ in range(24):
            clock.advance(HOUR)
            await gone.ask()
            await gone.run()
        by_day.append(len(gone.client.calls) - before)
    assert max(by_day[1:]) == 1
    assert sum(by_day[15:36]) == 3


async def test_force_and_retry_ask_now_and_what_is_there_again_is_forgotten(gone, clock) -> None:
    first = await gone.ask()
    await gone.run()
    asked = len(gone.client.calls)
    forced = await gone.ask(force=True)
    assert forced.accepted_as == "new"
    await gone.run()
    assert len(gone.client.calls) > asked
    assert (await gone.rows("SELECT times FROM absence"))[0].times == 1
    gone.client.script = lambda source, call: answer()
    await retry.retry(gone.engine.database, first.id)
    await gone.run()
    assert (await gone.request(first.id)).status == "COMPLETE"
    assert await gone.rows("SELECT FROM absence") == []
    assert (await gone.ask()).accepted_as == "new"


async def test_accounts_do_not_learn_from_one_another_what_is_missing(gone) -> None:
    await gone.ask(account_id="acme")
    await gone.run()
    assert (await gone.ask()).accepted_as == "new"
    assert (await gone.ask("other", account_id="acme")).accepted_as == "new"
    assert (await gone.ask(account_id="acme")).accepted_as == "remembered"


async def test_an_outage_is_no_evidence(world) -> None:
    world.client.script = lambda source, call: answer(403)
    await world.ask()
    await world.run()
    assert await world.rows("SELECT FROM absence") == []


async def test_the_number_of_wanted_posts_makes_no_difference(database_url: str) -> None:
    text = "SELECT beat_absence('p', 'f', %s::jsonb, %s) = beat_absence('p', 'f', %s::jsonb, %s)"
    with psycopg.connect(database_url) as connection:

        def same(*values: object) -> bool:
            return bool((connection.execute(text, values).fetchone() or (False,))[0])

        assert same('{"handle": "a", "posts": 12}', None, '{"posts": 0, "handle": "a"}', None)
        assert not same('{"handle": "a"}', None, '{"handle": "b"}', None)
        assert not same('{"handle": "a"}', None, '{"handle": "a"}', "acme")


async def test_what_nobody_asks_for_is_forgotten(gone, clock) -> None:
    await gone.ask()
    await gone.run()
    clock.advance(29 * DAY)
    assert (await absences.forget(gone.engine.database)).count == 0
    clock.advance(2 * DAY)
    assert (await absences.forget(gone.engine.database)).count == 1
