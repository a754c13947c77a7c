"""Which days of the log are dropped, and which are kept because somebody has not got their events."""

from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from beat_actors.database import Database
from beat_actors.events import retention

OLD = 91
PAST = """
INSERT INTO event (at, event_id, type, subject, data)
SELECT %s::timestamptz + make_interval(secs => n), gen_random_uuid(), 'beat.alert.opened', 'alert/' || n, '{}' FROM generate_series(1, 3) n
"""
PLACES = """
WITH gone AS (DELETE FROM event_pending RETURNING id, at), placed AS (
    INSERT INTO event_log (seq, id, at, changes)
    SELECT s.seq + row_number() OVER (ORDER BY g.id), g.id, g.at, false FROM gone g, event_sequence s RETURNING seq
)
UPDATE event_sequence SET seq = (SELECT max(seq) FROM placed)
"""
SINK = "INSERT INTO event_sink (name, scheme, seq) VALUES ('bus', 'test', %s)"
COUNTS = "SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM event_log), (SELECT count(*) FROM event_minute)"
ENDPOINT = (
    "INSERT INTO webhook_endpoint (url, events, key_id, secret) VALUES ('https://hooks.example.com', '{*}', 'k', '')"
)


def day(ago: int) -> date:
    return datetime.now(UTC).date() - timedelta(days=ago)


@pytest.fixture
def rows(database_url: str) -> psycopg.Connection:
    """Three events of `OLD` days ago in a partition of their day, and three of today: places 1 to 6."""
    connection = psycopg.connect(database_url, autocommit=True)
    old = day(OLD)
    connection.execute(
        f"CREATE TABLE event_{old:%Y%m%d} PARTITION OF event FOR VALUES FROM ('{old} 00:00+00') TO ('{old + timedelta(days=1)} 00:00+00')"
    )
    connection.execute("DELETE FROM event_minute")
    for at in (f"{old} 12:00+00", datetime.now(UTC).isoformat()):
        connection.execute(PAST, (at,))
        connection.execute(PLACES)
        connection.execute(
            "INSERT INTO event_minute (minute, seq) SELECT date_trunc('minute', %s::timestamptz), 1", (at,)
        )
    return connection


def counts(connection: psycopg.Connection) -> tuple[int, int, int]:
    found = connection.execute(COUNTS).fetchone()
    assert found is not None
    return found


async def test_days_past_their_age_go_with_their_places(database: Database, rows: psycopg.Connection) -> None:
    swept = await retention.forget(database)
    assert swept.count == 1 + 3 + 1
    assert counts(rows) == (3, 3, 1)
    assert (await retention.forget(database)).count == 0


async def test_an_unsent_event_of_91_days_ago_survives_until_it_is_sent(
    database: Database, rows: psycopg.Connection
) -> None:
    rows.execute(SINK, (2,))
    await retention.forget(database)
    assert counts(rows) == (6, 6, 2)
    rows.execute("UPDATE event_sink SET seq = 3")
    await retention.forget(database)
    assert counts(rows) == (3, 3, 1)


async def test_a_parked_event_survives_until_it_is_sent_or_dropped(
    database: Database, rows: psycopg.Connection
) -> None:
    rows.execute(SINK, (6,))
    rows.execute(
        "INSERT INTO event_parked (sink, seq, id, at, subject, trouble, reason) SELECT 'bus', seq, id, at, 's', 'nacked', 'full' FROM event_log WHERE seq = 2"
    )
    await retention.forget(database)
    assert counts(rows) == (6, 6, 2)
    rows.execute("DELETE FROM event_parked")
    await retention.forget(database)
    assert counts(rows) == (3, 3, 1)


async def test_a_replay_keeps_what_it_has_not_sent(database: Database, rows: psycopg.Connection) -> None:
    rows.execute(SINK, (6,))
    rows.execute(
        "INSERT INTO event_replay (sink, from_seq, to_seq, types, rate, position, reason) VALUES ('bus', 1, 6, '{*}', 1, 1, 'test')"
    )
    await retention.forget(database)
    assert counts(rows) == (6, 6, 2)
    rows.execute("UPDATE event_replay SET ended_at = clock_timestamp() - interval '91 days'")
    await retention.forget(database)
    assert counts(rows) == (3, 3, 1)
    assert rows.execute("SELECT count(*) FROM event_replay").fetchone() == (0,)


async def test_webhooks_keep_what_was_not_handed_to_them(database: Database, rows: psycopg.Connection) -> None:
    rows.execute(ENDPOINT)
    await retention.forget(database)
    assert counts(rows) == (6, 6, 2)
    rows.execute("UPDATE webhook_position SET seq = 3")
    await retention.forget(database)
    assert counts(rows) == (3, 3, 1)


async def test_a_leader_that_was_replaced_forgets_nothing(database: Database, rows: psycopg.Connection) -> None:
    assert (await retention.forget(database, 7)).count == 0
    assert counts(rows) == (6, 6, 2)
