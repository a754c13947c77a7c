"""What a rule or a sweep reads does not grow with what nobody has dealt with, nor with what waits."""

import json
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from beat_actors.database import Database
from beat_actors.requests import sweeps
from beat_actors.settings import Settings
from beat_actors.watch import quarantine as quarantine_rules

UNRESOLVED, WAITING = 60_000, 60_000
QUARANTINE = f"""
INSERT INTO quarantine (at, kind, platform, source, operation, error)
SELECT now() - interval '1 day', (ARRAY['malformed', 'poison', 'message'])[1 + n % 3], 'toy', 'source' || n % 2, 'look', 'why'
FROM generate_series(1, {UNRESOLVED}) n
"""
FETCHES = f"""
INSERT INTO lane (platform, operation, priority, sources) VALUES ('toy', 'look', 2, '{{first}}'), ('toy', 'look', 3, '{{first}}');
INSERT INTO scrape_request_log (platform, flow, params, expires_at, live)
SELECT 'toy', 'flow', '{{}}', now() + interval '1 hour', true FROM generate_series(1, {WAITING});
INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, priority, expires_at)
SELECT r.id, l.id, 'toy', 'look', '{{}}', 2, r.expires_at
FROM (SELECT *, row_number() OVER () AS n FROM scrape_request_log) r JOIN lane l ON l.priority = 2 + r.n % 2;
"""


@pytest.fixture
def admin(servers, database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def read(connection: psycopg.Connection[Any], sql: str, params: Any) -> tuple[set[str], int]:
    """The tables that are read as a whole, and the pages that the statement touches."""
    row = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", params).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    whole = set(re.findall(r'"Seq Scan".*?"Relation Name": "(\w+)"', json.dumps(plan)))
    return whole, plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


def test_what_nobody_resolves_makes_no_look_at_the_quarantine_dearer(admin: psycopg.Connection[Any]) -> None:
    admin.execute(QUARANTINE)
    admin.execute("VACUUM ANALYZE quarantine")
    params = {"sets": quarantine_rules.QUARANTINE_SETS, "most": 100, "few": 5, "settled": 5}
    whole, pages = read(admin, quarantine_rules.TOLD.text, params)
    assert whole <= {"refusal"}
    assert pages < 1000
    found = admin.execute(quarantine_rules.TOLD.text, params).fetchall()
    assert sorted((kind, source, of) for kind, _, source, _, of, _ in found) == [
        (kind, source, 100) for kind in ("message", "poison") for source in ("source0", "source1")
    ]


async def test_an_alert_says_that_it_stopped_counting(
    settings: Settings, admin: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.execute(QUARANTINE)
    monkeypatch.setattr(quarantine_rules, "QUARANTINE_COUNTED", 50)
    database = Database(settings, name="test")
    alerts = await quarantine_rules.quarantined(database)
    await database.close()
    assert len(alerts) == 4
    assert all("50 or more" in alert.cause for alert in alerts)


@pytest.mark.slow
def test_what_is_past_its_deadline_is_found_by_an_index_for_each_lane(admin: psycopg.Connection[Any]) -> None:
    admin.execute(FETCHES)
    admin.execute("UPDATE scrape_fetch SET expires_at = now() - interval '2 minutes' WHERE id = 777")
    admin.execute("VACUUM ANALYZE scrape_fetch, scrape_request_log, lane")
    params = {"seconds": 60, "limit": 100}
    whole, pages = read(admin, sweeps.FORGOTTEN.text, params)
    assert whole <= {"lane"}
    assert pages < 50
    assert len(admin.execute(sweeps.FORGOTTEN.text, params).fetchall()) == 1
