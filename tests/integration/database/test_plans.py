"""At a million waiting rows a claim still reads an index and a handful of pages."""

import json
import re
from typing import Any

import psycopg
import pytest

from beat_actors.access.reader import Sees
from beat_actors.broker import leasing, loading, turn
from beat_actors.data import reading
from beat_actors.database import Statement, jsonb
from beat_actors.fetches import leasing as fetches_leasing
from beat_actors.fetches.leasing import WAKE
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.requests import intake, lifecycle, queries, sweeps
from beat_actors.watch import requests as requests_rules

pytestmark = pytest.mark.exhaustive
MILLION = 1_000_000

FILL = f"""
INSERT INTO lane (platform, operation, priority, sources) VALUES ('toy', 'look', 2, '{{first}}'), ('toy', 'look', 3, '{{first}}');
INSERT INTO scrape_request_log (platform, flow, params, status, priority)
SELECT 'toy', 'flow' || n % 5, '{{}}', CASE WHEN n % 10 = 0 THEN 'COMPLETE' ELSE 'PENDING' END, 1 + n % 3 FROM generate_series(1, {MILLION}) n;
INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, priority, stage)
SELECT n, 1 + (n % 100000 = 1)::integer, 'toy', 'look', '{{}}', 2, CASE WHEN n % 10 = 0 THEN 'DONE' ELSE 'WAITING' END FROM generate_series(1, {MILLION}) n;
"""
LANES = jsonb([{"id": lane, "served": "", "rows": 201} for lane in (1, 2)])


@pytest.fixture
def million(database_url: str) -> psycopg.Connection[Any]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(FILL)
        connection.execute("VACUUM ANALYZE scrape_request_log, scrape_fetch")
        yield connection


def plan(connection: psycopg.Connection[Any], sql: str | Statement[Any], params: Any = None) -> tuple[str, int]:
    """The plan as text, and the pages that it touched."""
    text = sql.text if isinstance(sql, Statement) else sql
    row = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}", params).fetchone()
    assert row is not None
    document = row[0][0]["Plan"]
    return json.dumps(document), document["Shared Hit Blocks"] + document["Shared Read Blocks"]


def scanned(node: dict[str, Any]) -> set[str]:
    """The relations of which a plan read several rows in their order; a look whether there is any row at all reads one."""
    rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    own = {node["Relation Name"]} if node["Node Type"] == "Seq Scan" and rows > 1 else set()
    return own.union(*(scanned(child) for child in node.get("Plans", ())))


@pytest.mark.timeout(300)
def test_s2_10_claims_scan_partial_indexes_at_a_million_rows(million: psycopg.Connection[Any]) -> None:
    text, pages = plan(
        million,
        "SELECT id FROM scrape_request_log WHERE flow = 'flow1' AND status = 'PENDING' ORDER BY priority, id LIMIT 200",
    )
    assert "scrape_request_log_pending" in text
    assert "Seq Scan" not in text
    assert pages < 300
    text, pages = plan(million, leasing.CANDIDATES.text, {"lanes": LANES, "now": 0})
    assert "scrape_fetch_turn" in text
    assert "Seq Scan" not in text
    assert pages < 900
    values = {"platform": "toy", "now": 0, "most": 2000}
    for statement in (loading.HELD, WAKE, turn.BEHIND):
        text, pages = plan(million, statement.text, values)
        # What is out for credentials' own sake is a handful of rows.
        assert set(re.findall(r'"Seq Scan".*?"Relation Name": "(\w+)"', text)) <= {"credential_call"}
        assert pages < 20
    # What the scheduler asks every few seconds reads the first rows of an index for each lane or platform.
    for sql, params in (
        (sweeps.DUE.text, {"platforms": ["toy", "other"]}),
        (sweeps.WAITING.text, None),
        (requests_rules.STANDSTILL, {"idle": 10}),
        (requests_rules.WAITING, {"batch": 3, "seconds": 600}),
    ):
        text, pages = plan(million, sql, params)
        assert set(re.findall(r'"Seq Scan".*?"Relation Name": "(\w+)"', text)) <= {"lane", "settlement"}
        assert pages < 40


@pytest.mark.timeout(300)
def test_accepting_ending_and_listing_scan_no_table_at_a_million_rows(million: psycopg.Connection[Any]) -> None:
    """Statements with many parts: each part must find its rows by an index, whatever stands beside it."""
    million.execute(
        "UPDATE scrape_request_log SET work = int8send(id), live = status = 'PENDING', scraped_at = created_at WHERE id <= 300000"
    )
    million.execute(
        "INSERT INTO absence (key, platform, code, said, ask_at, request_id)"
        " SELECT sha256(int8send(n)), 'toy', 'missing', 'gone', now(), n FROM generate_series(1, 100000) n;"
        "INSERT INTO tombstone (subject, erasure_id) SELECT sha256(int8send(n)), n FROM generate_series(1, 10000) n"
    )
    million.execute("VACUUM ANALYZE scrape_request_log, absence, tombstone")
    lane = {"i": 0, "platform": "toy", "operation": "look", "priority": 2, "sources": ["first"], "owner": ""}
    item = {
        "n": 0, "platform": "toy", "flow": "flow1", "params": {}, "priority": 1, "idempotency_key": "k", "idempotency_owner": "key:1", "digest_hex": "00",
        "apart": False, "on_demand": False, "max_age": 60, "lane": 0, "operation": "look", "fetch_params": {},
    }  # fmt: skip
    items = [{**item, "n": n, "idempotency_key": f"k{n}", "work_hex": f"{n * 7:016x}"} for n in range(1, 101)]
    ids = {"ids": list(range(1, 101))}
    end = {**ids, "status": "FAILED", "error": "{}", "account_id": None, "late": True}
    for sql, params in (
        (intake.SUBMIT.text, {"lanes": json.dumps([lane]), "items": json.dumps(items)}),
        (lifecycle.CLOSE_FOLLOWERS.text, ids),
        (lifecycle.LOCK_FETCHES.text, ids),
        (lifecycle.LOCK_REQUESTS.text, ids),
        (lifecycle.END.text, end),
        (queries.ENDED.text, ids),
        (
            "SELECT id FROM scrape_request_log WHERE collected_at IS NULL AND scraped_at IS NOT NULL ORDER BY id DESC LIMIT 50",
            None,
        ),
    ):
        text, pages = plan(million, sql, params)
        assert scanned(json.loads(text)) <= {"lane"}, sql
        assert pages < 10_000, sql


def test_what_an_account_observed_is_found_by_its_key(database_url: str) -> None:
    """Each thing of a page costs a few descents of an index, however many accounts have it."""
    orders = platform_named("shopify").entity_in("order")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO owner_grant (account_id, platform, owner, granted_by) "
            "SELECT 'account' || n, 'shopify', 'shop', 'test' FROM generate_series(1, 5000) n;"
            'INSERT INTO "order" (platform_order_id, account_id, owner, store, updated_at, created_at, currency, total_price, source, parser_version,'
            " request_id, observed_at) SELECT (n / 7)::text, 'account' || n % 7, 'shop', 'shop', now(), now() - n / 7 * interval '1 minute', 'EUR', 1,"
            " 'shopify', 1, n, now() FROM generate_series(1, 35000) n;"
        )
        connection.execute('VACUUM ANALYZE owner_grant, "order"')
        for sees, most in ((Sees.OWN, 6000), (Sees.ALL, 12_000)):
            sql = reading._list("shopify", orders, "store", sees, False, False)
            text, pages = plan(connection, sql, {"of": "shop", "limit": 101, "account": "account3"})
            assert '"Seq Scan", "Parallel Aware": false, "Async Capable": false, "Relation Name": "order"' not in text
            assert pages < most, sees


@pytest.mark.parametrize("statistics", ["none", "old"])
def test_ends_and_waits_read_no_backlog_whose_statistics_are_missing_or_old(database_url: str, statistics: str) -> None:
    """As in the minute after many requests have come at once."""
    before, many = (20_000 if statistics == "old" else 0), 200_000
    waiting = FILL.split(";", 1)[1]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(FILL.split(";", 1)[0])
        if statistics == "old":
            connection.execute(waiting.replace(str(MILLION), str(before)))
            connection.execute(
                "UPDATE scrape_request_log SET status = 'COMPLETE'; UPDATE scrape_fetch SET stage = 'DONE'"
            )
            connection.execute("VACUUM ANALYZE scrape_request_log, scrape_fetch")
        connection.execute(waiting.replace(f"(1, {MILLION})", f"({before + 1}, {before + many})"))
        ids = list(range(before + many - 100, before + many))
        leases = [
            {"fetch_id": one, "source": "first", "credential_id": 1, "probe": False, "call_of": None, "use_from": None}
            for one in ids
        ]
        for sql, params in (
            (leasing.CANDIDATES, {"lanes": LANES, "now": 0}),
            (fetches_leasing.LEASE, {"leases": jsonb(leases), "use_until": 1e9}),
            (fetches_leasing.UNGRANTED, {"ids": ids}),
            (lifecycle.LOCK_FETCHES, {"ids": ids}),
            (lifecycle.LOCK_REQUESTS, {"ids": ids}),
            (lifecycle.END, {"ids": ids, "status": "FAILED", "error": "{}", "account_id": None, "late": False}),
            (lifecycle.CLOSE_FOLLOWERS, {"ids": ids}),
            (lifecycle.WAIT, {"ids": ids, "until": [None] * len(ids), "reasons": ["limit"] * len(ids)}),
        ):
            with connection.transaction(force_rollback=True):
                text, _ = plan(connection, sql, params)
            passed = [int(number) for number in re.findall(r'"Rows Removed by [^"]*": (\d+)', text)]
            read = [int(float(number)) for number in re.findall(r'"Actual Rows": ([\d.]+)', text)]
            assert max(passed + read) < many / 10, f"{sql.name}: {text}"
