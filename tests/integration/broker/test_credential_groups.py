"""A turn loads the credentials that it can have a use for, however many there are, and finds what has room among those that have not."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest

from beat_actors.broker import loading, turn
from beat_actors.broker.state import Snapshot
from beat_actors.database import Database
from beat_actors.platforms.interface import Limit
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.settings import Settings
from tests.observing import rows

INSTAGRAM = platform_named("instagram")
LAMA = INSTAGRAM.sources["lama"]
OPERATION = next(name for name, endpoint in LAMA.endpoints.items() if endpoint.many is None)
MANY, MOST = 300, 20
DAY = Limit("day", 2, 86_400)
WORLD = f"""
INSERT INTO credential (platform, source, label, fingerprint, key_id, secret, check_at)
SELECT 'instagram', 'lama', 'test', convert_to(n::text, 'UTF8'), 'test', '', now() + interval '1 day' FROM generate_series(1, {MANY}) n;
INSERT INTO lane (platform, flow, operation, priority, sources) VALUES ('instagram', 'test', '{OPERATION}', 3, '{{lama}}');
WITH request AS (
    INSERT INTO scrape_request_log (platform, flow, params) SELECT 'instagram', 'test', '{{}}' FROM generate_series(1, {MANY}) RETURNING id
)
INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, priority)
SELECT r.id, l.id, 'instagram', l.operation, '{{}}', 3 FROM request r, lane l;
"""
# Of each credential but these the day's calls are made: two hours ago, so that they count for another 22.
SPENT = """
INSERT INTO credential_usage (subject, limit_name, head, counts)
SELECT 'credential:' || id, 'day', floor(extract(epoch FROM now() - interval '2 hours') / (86402.0 / 20)), '{2}'
FROM credential WHERE NOT id = ANY(%s)
"""


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many credentials each turn loaded, of at most `MOST` of a group."""
    monkeypatch.setattr(loading, "MOST_OF_GROUP", MOST)
    monkeypatch.setattr(type(LAMA), "limits", (DAY,))
    counts: list[int] = []
    save = turn._save

    async def saved(transaction: Any, platform: Any, snapshot: Snapshot, *rest: Any) -> None:
        counts.append(len(snapshot.credentials))
        await save(transaction, platform, snapshot, *rest)

    monkeypatch.setattr(turn, "_save", saved)
    return counts


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(WORLD)
        yield connection


@pytest.fixture
async def database(settings: Settings, admin: psycopg.Connection[Any], loaded: list[int]) -> AsyncIterator[Database]:
    bounds = {"broker_in_flight": 10_000, "broker_in_flight_per_source": 10_000, "broker_batch": 10}
    database = Database(settings.model_copy(update=bounds), name="test")
    yield database
    await database.close()


async def test_a_turn_loads_a_bounded_number_of_credentials(database: Database, loaded: list[int]) -> None:
    for _ in range(5):
        assert len((await turn.turn(database, INSTAGRAM)).leased) == 10
    assert loaded == [MOST] * 5
    used = await rows(database, "SELECT count(DISTINCT credential_id) FROM scrape_fetch WHERE stage = 'LEASED'")
    assert used[0][0] > MOST, "each turn draws anew which it loads"


async def test_what_has_room_is_found_among_what_is_used_up(
    database: Database, admin: psycopg.Connection[Any], loaded: list[int]
) -> None:
    free = [7, 150, 299]
    admin.execute(SPENT, (free,))
    for _ in range(MANY // MOST + 5):
        await turn.turn(database, INSTAGRAM)
    assert await rows(
        database, "SELECT DISTINCT credential_id FROM scrape_fetch WHERE stage = 'LEASED' ORDER BY 1"
    ) == [(number,) for number in free]
    assert len(await rows(database, "SELECT 1 FROM scrape_fetch WHERE stage = 'LEASED'")) == DAY.calls * len(free)
    assert max(loaded) <= MOST
    assert len(await rows(database, "SELECT 1 FROM credential WHERE full_until > now() + interval '21 hours'")) == MANY


async def test_what_is_used_up_is_reported_with_the_earliest_time(
    database: Database, admin: psycopg.Connection[Any]
) -> None:
    admin.execute(
        "UPDATE credential SET disabled_till = now() + make_interval(hours => (id % 10)::integer + 1), disabled_reason = 'rate_limited 429'"
    )
    admin.execute("UPDATE credential SET disabled_till = now() + interval '30 minutes' WHERE id = 123")
    await turn.turn(database, INSTAGRAM)
    (lane,) = await rows(
        database,
        "SELECT extract(epoch FROM blocked_until - now()) AS left, reasons FROM lane WHERE reasons IS NOT NULL",
    )
    assert 1700 < lane[0] < 1801
    assert sum(reason.get("credentials", 1) for reason in lane[1]) == MANY
    assert {reason["source"] for reason in lane[1]} == {"lama"}


async def test_a_lane_is_looked_at_again_when_one_that_was_not_loaded_may_have_room(
    database: Database, admin: psycopg.Connection[Any]
) -> None:
    """All that was loaded may do nothing of what is wanted, and the rest is not known yet."""
    admin.execute(
        "UPDATE credential SET reported_remaining = 0, reported_reset_at = now() + interval '1 hour', full_until = now() + interval '1 hour' "
        "WHERE id <= 200"
    )
    admin.execute("UPDATE credential SET full_until = now() + interval '10 minutes' WHERE id > 200")
    admin.execute(SPENT, ([],))
    await turn.turn(database, INSTAGRAM)
    (lane,) = await rows(
        database, "SELECT extract(epoch FROM blocked_until - now()) AS left FROM lane WHERE reasons IS NOT NULL"
    )
    assert 590 < lane[0] < 601


async def test_a_lease_that_comes_back_unused_makes_room_again(
    database: Database, admin: psycopg.Connection[Any]
) -> None:
    admin.execute("DELETE FROM credential WHERE id > 1")
    assert len((await turn.turn(database, INSTAGRAM)).leased) == DAY.calls
    assert await rows(database, "SELECT full_until > now() FROM credential") == [(True,)]
    admin.execute("UPDATE scrape_fetch SET stage = 'SETTLING', fence = 1 WHERE stage = 'LEASED'")
    admin.execute("""
    INSERT INTO settlement (platform, source, operation, credential_id, fetch_id, fence, outcome, calls)
    SELECT platform, source, operation, credential_id, id, fence, 'unused', 1 FROM scrape_fetch WHERE stage = 'SETTLING'
    """)
    assert len((await turn.turn(database, INSTAGRAM)).leased) == DAY.calls


async def test_owners_credentials_are_loaded_for_the_lanes_that_are_looked_at(
    database: Database, admin: psycopg.Connection[Any], loaded: list[int]
) -> None:
    admin.execute("UPDATE credential SET owner = 'owner' || id, shared = false")
    admin.execute("UPDATE lane SET owner = 'owner17'")
    admin.execute("UPDATE scrape_fetch SET owner = 'owner17'")
    await turn.turn(database, INSTAGRAM)
    assert loaded == [1]
    assert await rows(database, "SELECT credential_id FROM scrape_fetch WHERE stage = 'LEASED'") == [(17,)] * DAY.calls


async def test_what_the_provider_says_is_used_up_is_noted_too(
    database: Database, admin: psycopg.Connection[Any]
) -> None:
    admin.execute("UPDATE credential SET reported_remaining = 0, reported_reset_at = now() + interval '1 hour'")
    await turn.turn(database, INSTAGRAM)
    noted = "SELECT count(*) FROM credential WHERE full_until = reported_reset_at"
    assert await rows(database, noted) == [(MOST,)]
