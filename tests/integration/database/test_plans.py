"""At a million waiting rows a claim still reads an index and a handful of pages."""

import json
import re
from typing import Any

import psycopg
import pytest

from beat_actors.credentials import store, turn

MILLION = 1_000_000

FILL = f"""
INSERT INTO lane (platform, operation, priority, sources) VALUES ('toy', 'look', 2, '{{first}}'), ('toy', 'look', 3, '{{first}}');
INSERT INTO scrape_request_log (platform, flow, params, status, priority)
SELECT 'toy', 'flow' || n % 5, '{{}}', CASE WHEN n % 10 = 0 THEN 'COMPLETE' ELSE 'PENDING' END, 1 + n % 3 FROM generate_series(1, {MILLION}) n;
INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, priority, stage)
SELECT n, 1 + (n % 100000 = 1)::integer, 'toy', 'look', '{{}}', 2, CASE WHEN n % 10 = 0 THEN 'DONE' ELSE 'WAITING' END FROM generate_series(1, {MILLION}) n;
"""


@pytest.fixture
def million(database_url: str) -> psycopg.Connection[Any]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(FILL)
        connection.execute("VACUUM ANALYZE scrape_request_log, scrape_fetch")
        yield connection


def plan(connection: psycopg.Connection[Any], sql: str, params: Any = None) -> tuple[str, int]:
    """The plan as text, and the pages that it touched."""
    row = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", params).fetchone()
    assert row is not None
    document = row[0][0]["Plan"]
    return json.dumps(document), document["Shared Hit Blocks"] + document["Shared Read Blocks"]


@pytest.mark.timeout(300)
def test_s2_10_claims_scan_partial_indexes_at_a_million_rows(million: psycopg.Connection[Any]) -> None:
    text, pages = plan(
        million,
        "SELECT id FROM scrape_request_log WHERE flow = 'flow1' AND status = 'PENDING' ORDER BY priority, id LIMIT 200",
    )
    assert "scrape_request_log_pending" in text
    assert "Seq Scan" not in text
    assert pages < 300
    text, pages = plan(million, turn.CANDIDATES, ([1, 2], [201, 201], 0))
    assert "scrape_fetch_ready" in text
    assert "Seq Scan" not in text
    assert pages < 900
    for sql, params in ((store.HELD, {"platform": "toy"}), (turn.WAKE, (0, "toy"))):
        text, pages = plan(million, sql, params)
        # What is out for credentials' own sake is a handful of rows.
        assert set(re.findall(r'"Seq Scan".*?"Relation Name": "(\w+)"', text)) <= {"credential_call"}
        assert pages < 20
