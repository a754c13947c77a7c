"""At a million waiting assets a claim still reads an index and a handful of pages."""

import json
import re
from typing import Any

import psycopg
import pytest

from beat_actors.assets import claims, commits
from beat_actors.broker.own_flows import UPLOADS
from beat_actors.database import BY_INDEX, Statement, jsonb

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(600)]
MILLION = 1_000_000
FILL = f"""
INSERT INTO asset_log (platform, entity, entity_key, field, url, status, class, identity, deadline, expires_at, not_before, lease_until)
SELECT 'instagram', 'instagram_account', n::text, 'profile_pic_url', 'https://cdn.example.com/' || n,
    CASE WHEN n % 100 = 0 THEN 'WAITING' WHEN n % 10007 = 0 THEN 'PROCESSING' ELSE 'PENDING' END, n % 4, int8send(n),
    now() + (n % 500000 - 50000) * interval '1 second', CASE WHEN n % 3 = 0 THEN now() + (n % 500000 - 50000) * interval '1 second' END,
    now() + interval '1 hour', now() + interval '1 minute'
FROM generate_series(1, {MILLION}) n
"""
CLAIM = {
    "platform": UPLOADS.platform, "flow": UPLOADS.name, "workers": 50, "concurrency": 100, "limit": 200, "classes": [0, 1, 2, 3], "soon": 3.0,
    "lease": 90.0, "readers": True,
}  # fmt: skip


def plan(connection: psycopg.Connection[Any], sql: Statement[Any], params: Any) -> tuple[str, int]:
    row = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql.text}", params).fetchone()
    assert row is not None
    document = row[0][0]["Plan"]
    return json.dumps(document), document["Shared Hit Blocks"] + document["Shared Read Blocks"]


@pytest.fixture
def million(database_url: str) -> psycopg.Connection[Any]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(FILL)
        connection.execute("VACUUM ANALYZE asset_log")
        yield connection


def test_a_claim_reads_no_table_at_a_million_rows(million: psycopg.Connection[Any]) -> None:
    seen = {}
    million.execute(BY_INDEX.text.replace("true", "false"))  # for the session
    # With a generic plan too: the driver prepares what it sends often.
    for mode in ("force_custom_plan", "force_generic_plan"):
        million.execute(f"SET plan_cache_mode = {mode}")
        for name, values in {
            "avatars": {"urgent": 60.0, "aged": 0},
            "aged": {"urgent": 60.0, "aged": 10},
            "endless": {"urgent": 1e8, "aged": 10, "classes": [1, 2, 3]},
            "class by class": {"urgent": 60.0, "aged": 0, "classes": [1, 2, 3]},
            "few": {"urgent": 60.0, "aged": 0, "limit": 1},
        }.items():
            text, seen[name, mode] = plan(million, claims.CLAIM, CLAIM | values)
            assert set(re.findall(r'"Seq Scan".*?"Relation Name": "(\w+)"', text)) <= {"flow_setting"}, name
    # A claim writes each row and its indexes anew, so most of the pages belong to the 200 updates. A claim of one passes the rows that
    # those before it took from the head of the index.
    assert all(pages < 15_000 for pages in seen.values()), seen
    assert max(pages for (name, _), pages in seen.items() if name == "few") < 3000
    for sql, params in (
        (claims.DUE, {"limit": 500, "classes": [0, 1, 2, 3]}),
        (claims.RESCUE, {"limit": 500, "failure": claims.CRASH}),
        (claims.EXPIRE, {"limit": 500, "failure": "over"}),
        (claims.DEPTH, {"most": 1000}),
    ):
        text, pages = plan(million, sql, params)
        assert "Seq Scan" not in text, sql
        assert pages < 15_000, sql


def test_an_end_reads_no_table_at_a_million_rows(million: psycopg.Connection[Any]) -> None:
    million.execute(
        "INSERT INTO asset_object (content, bytes, media_type) SELECT sha256(int8send(n)), 1, 'image/jpeg' FROM generate_series(1, 300000) n"
    )
    million.execute("UPDATE asset_log SET content = sha256(int8send(id)) WHERE id <= 300000")
    million.execute("VACUUM ANALYZE asset_log, asset_object")
    sql = "UPDATE asset_log SET status = 'PROCESSING', lease_until = now() + interval '1 minute' WHERE id > 999800 RETURNING public_id"
    ids = [row[0] for row in million.execute(sql)]
    assert len(ids) == 200
    rows = [
        {
            "asset": str(one),
            "fence": 0,
            "state": "COMPLETE",
            "how": how,
            "hex": f"{n:064x}",
            "bytes": 1,
            "media_type": "image/jpeg",
        }
        | {"delay": 0, "counts": True}
        for n, (one, how) in enumerate(zip(ids, ["made", "known", "there", "made"] * 50, strict=True))
    ]
    contents = [row[0] for row in million.execute("SELECT content FROM asset_object LIMIT 200")]
    for sql, params in (
        (commits.ENTER, {"ends": jsonb(rows)}),
        (commits.COMMIT, {"ends": jsonb(rows)}),
        (commits.KNOWN, {"contents": contents}),
        (commits.LEAVE, {"contents": contents}),
    ):
        text, pages = plan(million, sql, params)
        assert "Seq Scan" not in text, text
        assert pages < 15_000, sql


@pytest.mark.parametrize("statistics", ["none", "old"])
def test_a_claim_reads_no_backlog_whose_statistics_are_missing_or_old(database_url: str, statistics: str) -> None:
    """As in the minute after many pictures have come at once."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        if statistics == "old":
            connection.execute(FILL.replace(str(MILLION), "20000"))
            connection.execute("UPDATE asset_log SET status = 'COMPLETE'")
            connection.execute("VACUUM ANALYZE asset_log")
        connection.execute(FILL.replace("generate_series(1, ", f"generate_series({MILLION - 99_999}, "))
        seen = {}
        with connection.transaction():
            connection.execute(BY_INDEX.text)
            for sql, params in (
                (claims.DUE, {"limit": 500, "classes": [0, 1, 2, 3]}),
                (claims.RESCUE, {"limit": 500, "failure": claims.CRASH}),
                (claims.EXPIRE, {"limit": 500, "failure": "over"}),
                (claims.CLAIM, CLAIM | {"urgent": 1e8, "aged": 10}),
                (claims.CLAIM, CLAIM | {"urgent": 1e8, "aged": 10, "classes": [1, 2, 3]}),
            ):
                text, pages = plan(connection, sql, params)
                seen[sql.name, len(seen)] = pages
                removed = [
                    int(number)
                    for number in re.findall(r'"Rows Removed by \w+( \w+)?": (\d+)', text)
                    for number in number[1:]
                ]
                assert max(removed, default=0) < 5000, text
        # Most belong to the updates. All that wait have 4,000 pages, which would be read several times.
        assert max(seen.values()) < 10_000, seen
