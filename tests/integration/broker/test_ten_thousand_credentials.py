"""A platform with ten thousand credentials: a turn reads and writes as many of them as it can use, and finds those that can serve."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from beat_actors.broker import turn as turns
from beat_actors.broker.loading import MOST_OF_GROUP, most_of_group
from beat_actors.broker.turn import turn
from beat_actors.database import Answer, Database, Pipeline
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from tests.observing import rows
from tests.worlds import TOY, registered

CREDENTIALS = 10_000
WORLD = f"""
INSERT INTO credential (platform, source, label, fingerprint, key_id, secret, check_at)
SELECT 'toy', 'toy-first', 'test', convert_to(n::text, 'UTF8'), 'test', '', now() + interval '1 day' FROM generate_series(1, {CREDENTIALS}) n;
INSERT INTO credential_usage (subject, limit_name, head, counts) SELECT 'credential:' || id, name, 0, '{{1}}'
FROM credential CROSS JOIN unnest('{{second,hour}}'::text[]) AS name;
"""
READ = """
SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) AS read, n_tup_ins + n_tup_upd AS written
FROM pg_stat_xact_user_tables WHERE relname IN ('credential', 'credential_usage')
"""
COOLING_DOWN = "disabled_till = now() + interval '10 minutes', disabled_reason = 'rate_limited 429'"
# The buckets of the last hour hold all that the limit of an hour allows.
FULL = """
UPDATE credential_usage SET head = floor(extract(epoch FROM now()) / (3602.0 / 20)), counts = '{40}' WHERE limit_name = 'hour'
"""
NOTED = "full_until = now() + interval '1 hour'"


@pytest.fixture
def world(servers, database_url: str) -> psycopg.Connection:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(WORLD)
        connection.execute("VACUUM ANALYZE credential, credential_usage")
        yield connection


@pytest.fixture
async def database(settings: Settings, world: psycopg.Connection) -> AsyncIterator[Database]:
    database = Database(settings, name="test")
    with registered(TOY):
        await intake.accept(database, [NewRequest("toy", "look", {"name": f"n{n}"}) for n in range(300)])
        yield database
    await database.close()


@pytest.fixture
def touched(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    """Table -> rows that the last turn read and wrote, as PostgreSQL counted them in the turn's own transaction."""
    seen: dict[str, tuple[int, int]] = {}
    run, end = Pipeline.run, Pipeline.end
    asked: list[Answer] = []

    async def counted(self, sql, params=None, **options):
        if sql == turns.DECIDED:
            asked.append(await run(self, READ))
        return await run(self, sql, params, **options)

    async def ended(self, *args, **options):
        await end(self, *args, **options)
        seen.update({row.relname: (row.read, row.written) for answer in asked for row in answer.rows})

    monkeypatch.setattr(Pipeline, "run", counted)
    monkeypatch.setattr(Pipeline, "end", ended)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize(
    "state",
    [
        "enabled = true",
        COOLING_DOWN,
        "disabled_till = now() - interval '1 second', disabled_reason = 'rate_limited 429'",
        "dead_at = now()",
        "enabled = false",
        NOTED,
    ],
)
async def test_a_turn_reads_and_writes_no_more_credentials_than_it_can_use(
    database: Database, world: psycopg.Connection, touched: dict[str, tuple[int, int]], state: str
) -> None:
    world.execute(FULL if state == NOTED else "SELECT")
    world.execute(f"UPDATE credential SET {state}")
    world.execute("VACUUM ANALYZE credential")
    result = await turn(database, TOY)
    assert result.leased or result.blocked
    read, written = touched["credential"]
    # Each is found in an index, read, and written at most once for its state and once for its limits. Where not enough of them can serve
    # all are counted once, for the reason that is kept.
    assert read <= 6 * MOST_OF_GROUP + CREDENTIALS * (not result.leased)
    assert written <= 2 * MOST_OF_GROUP
    read, written = touched["credential_usage"]
    assert read <= 4 * MOST_OF_GROUP
    assert written <= 2 * MOST_OF_GROUP


@pytest.mark.slow
@pytest.mark.parametrize("others", [COOLING_DOWN, "dead_at = now()", NOTED, "probing = true"])
async def test_the_one_credential_that_can_serve_is_found_at_once(
    database: Database, world: psycopg.Connection, others: str
) -> None:
    world.execute(FULL if others == NOTED else "SELECT")
    world.execute(f"UPDATE credential SET {others}")
    world.execute("DELETE FROM credential_usage WHERE subject = 'credential:7777'")
    world.execute(
        "UPDATE credential SET disabled_till = NULL, dead_at = NULL, full_until = NULL, probing = false WHERE id = 7777"
    )
    leased = (await turn(database, TOY)).leased
    used = "SELECT DISTINCT credential_id FROM scrape_fetch WHERE id = ANY(%s)"
    assert await rows(database, used, (leased,)) == [(7777,)]


async def test_when_all_cool_down_the_lane_waits_for_the_first_of_all_to_come_back(
    database: Database, world: psycopg.Connection
) -> None:
    world.execute("UPDATE credential SET disabled_till = now() + make_interval(secs => 10000 + id)")
    world.execute("UPDATE credential SET disabled_till = now() + interval '77 seconds' WHERE id = 7777")
    (blocked,) = (await turn(database, TOY)).blocked
    assert blocked.until is not None
    (first,) = await rows(
        database, "SELECT extract(epoch FROM disabled_till)::double precision FROM credential WHERE id = 7777"
    )
    assert blocked.until == pytest.approx(first[0])


async def test_credentials_whose_limits_are_used_up_are_passed_over_after_they_were_met_once(
    database: Database, world: psycopg.Connection
) -> None:
    """Nothing is known of what is full before a turn has met it: each turn meets others, says that more can serve, and notes what it met."""
    world.execute(FULL)
    most = most_of_group(database.settings.broker_batch)
    world.execute("UPDATE credential SET enabled = id <= %s", (5 * most // 2,))
    noted = "SELECT count(*) FROM credential WHERE full_until > now()"
    for met in (most, 2 * most):
        result = await turn(database, TOY)
        assert not result.leased
        assert any("its other credentials" in reason.why for reason in result.blocked[0].reasons)
        assert await rows(database, noted) == [(met,)]
        await rows(database, "UPDATE lane SET blocked_until = now() RETURNING 1")
    world.execute("DELETE FROM credential_usage WHERE subject = 'credential:321'")
    world.execute("UPDATE credential SET full_until = NULL WHERE id = 321")
    leased = (await turn(database, TOY)).leased
    used = "SELECT DISTINCT credential_id FROM scrape_fetch WHERE id = ANY(%s)"
    assert await rows(database, used, (leased,)) == [(321,)]


@pytest.mark.slow
async def test_all_credentials_get_their_turn(database: Database, world: psycopg.Connection) -> None:
    world.execute("UPDATE credential SET enabled = id <= 600")
    used: set[int] = set()
    for seed in range(40):
        leased = (await turn(database, TOY, seed=seed)).leased
        found = await rows(database, "SELECT credential_id FROM scrape_fetch WHERE id = ANY(%s)", (leased,))
        used |= {number for (number,) in found}
        await rows(database, "UPDATE scrape_fetch SET stage = 'WAITING' WHERE stage = 'LEASED' RETURNING 1")
    assert len(used) > 550
