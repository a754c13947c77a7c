"""A source with a hundred credentials: all of them are used, and a turn asks the database no more often than for a few."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from beat_actors.broker.turn import turn
from beat_actors.database import Transaction
from beat_actors.engine import Engine
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from tests.observing import rows
from tests.worlds import TOY, ScriptedClient, answer, engine_with, registered

A_SECOND = 3
"""Calls that toy-first allows each credential in a second."""


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    roomy = {"broker_in_flight": 1000, "broker_in_flight_per_source": 1000, "broker_batch": 1000}
    client = ScriptedClient(lambda source, call: answer())
    engine = engine_with(settings.model_copy(update=roomy), client)
    with registered(TOY):
        yield engine
    await engine.close()


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each statement has been run."""
    seen: Counter[str] = Counter()
    for name in ("rows", "run"):
        original = getattr(Transaction, name)

        async def counted(self, sql, params=None, *, original=original, **options):
            seen[sql] += 1
            return await original(self, sql, params, **options)

        monkeypatch.setattr(Transaction, name, counted)
    return seen


async def test_s3_11_a_hundred_credentials_are_all_used_by_one_turn_with_as_many_statements_as_two_need(
    engine: Engine, statements: Counter[str]
) -> None:
    spent = []
    for count in (2, 100):
        known = await rows(engine.database, "SELECT id FROM credential")
        for n in range(len(known), count):
            await engine.credentials.add("toy-first", {"key": f"key-{n}"})
        wanted = [NewRequest("toy", "look", {"name": f"{count}-{n}"}) for n in range(count * A_SECOND)]
        await intake.accept(engine.database, wanted)
        statements.clear()
        leased = (await turn(engine.database, TOY)).leased
        spent.append(statements.total())
        assert len(leased) == count * A_SECOND
        shares = await rows(
            engine.database,
            "SELECT credential_id, count(*) FROM scrape_fetch WHERE id = ANY(%s) GROUP BY 1",
            (leased,),
        )
        assert [share for _, share in shares] == [A_SECOND] * count
        # The next round begins with nothing out and all windows empty.
        await rows(engine.database, "DELETE FROM scrape_fetch RETURNING 1")
        await rows(engine.database, "DELETE FROM credential_usage RETURNING 1")
    assert spent[1] == spent[0]
