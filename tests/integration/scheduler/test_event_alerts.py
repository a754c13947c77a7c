"""The alerts about events: each trouble of a sink, lag with its two bounds, parked events, and sinks that nobody publishes to."""

import psycopg
import pytest

from beat_actors.alerts import AlertView, list_alerts
from beat_actors.database import Database
from beat_actors.events.sink import Trouble
from beat_actors.watch.events import lags, unpublished
from beat_actors.watch.rule import Watch
from tests.integration.events.rows import EVENTS, PARK, PLACES, PROCESS, SINK, UNHELD

RULE = Watch("events", unpublished)
SET = "UPDATE event_sink SET seq = %s, trouble = %s, reason = 'as it says', since = clock_timestamp() - make_interval(secs => %s)"
OLD = "UPDATE event_log SET at = clock_timestamp() - make_interval(secs => %s)"


@pytest.fixture
def rows(database_url: str) -> psycopg.Connection:
    connection = psycopg.connect(database_url, autocommit=True)
    connection.execute(EVENTS, (10,))
    connection.execute(PLACES)
    connection.execute(SINK, ("bus", 10))
    return connection


async def opened(database: Database) -> dict[str, AlertView]:
    await RULE.run(database)
    async with database.statements() as alone:
        return {one.key: one for one in await list_alerts(alone)}


@pytest.mark.parametrize("trouble", [one for one in Trouble if one is not Trouble.INVALID])
async def test_a_sink_that_stands_has_an_alert_of_its_trouble(
    database: Database, rows: psycopg.Connection, trouble: Trouble
) -> None:
    rows.execute(SET, (10, trouble, 5))
    assert await opened(database) == {}
    rows.execute(SET, (10, trouble, 16))
    (alert,) = (await opened(database)).values()
    assert alert.key == f"events:bus:{trouble}"
    assert "as it says" in alert.cause
    assert "`beat events" in alert.action
    rows.execute(SET, (10, None, 0))
    assert await opened(database) == {}


async def test_a_sink_that_lags_has_an_alert_until_it_has_nearly_caught_up(
    database: Database, rows: psycopg.Connection
) -> None:
    rows.execute(SET, (4, None, 0))
    rows.execute(OLD, (50,))
    assert await opened(database) == {}
    rows.execute(OLD, (70,))
    assert list(await opened(database)) == ["events:bus:lag"]
    rows.execute(OLD, (50,))
    assert "6 events behind" in (await opened(database))["events:bus:lag"].cause
    rows.execute(OLD, (5,))
    assert await opened(database) == {}


@pytest.mark.parametrize(
    ("seconds", "events", "lagging", "expected"),
    [
        (61.0, 1, False, True),
        (60.0, 1_000_000, False, False),
        (0.0, 1_000_001, False, True),
        (9.0, 99_999, True, False),
        (10.0, 1, True, True),
        (0.0, 100_000, True, True),
    ],
)
def test_lag_begins_far_above_where_it_ends(seconds: float, events: int, lagging: bool, expected: bool) -> None:
    assert lags(seconds, events, lagging=lagging) is expected


async def test_parked_events_have_an_alert_until_none_is(database: Database, rows: psycopg.Connection) -> None:
    rows.execute(PARK, ("bus", "unroutable", False, 3))
    rows.execute(PARK, ("bus", "invalid", True, 6))
    alert = (await opened(database))["events:bus:parked"]
    assert "2 events are parked" in alert.cause
    assert "no queue for events" in alert.cause
    rows.execute("DELETE FROM event_parked")
    assert await opened(database) == {}


async def test_that_no_publisher_runs_is_one_alert(database: Database, rows: psycopg.Connection) -> None:
    rows.execute(UNHELD)
    assert await opened(database) == {}  # nothing waits
    rows.execute(SET, (4, "unreachable", 600))
    rows.execute(OLD, (600,))
    assert list(await opened(database)) == ["events:publisher"]
    rows.execute(PROCESS)
    assert list(await opened(database)) == ["events:bus:unconfigured"]
    rows.execute("DELETE FROM event_sink")
    assert await opened(database) == {}


async def test_pending_events_that_nobody_gives_a_place_are_told(database: Database, rows: psycopg.Connection) -> None:
    rows.execute(UNHELD)
    rows.execute(EVENTS, (3,))
    rows.execute("UPDATE event_pending SET at = clock_timestamp() - interval '20 seconds'")
    assert "3 of them" in (await opened(database))["events:publisher"].cause
