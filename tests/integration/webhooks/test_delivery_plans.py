"""What delivers reads the deliveries that it claims, and not those that wait, also while the statistics of the table are missing or old."""

import json
import re
from typing import Any

import psycopg
import pytest

from beat_actors.database import BY_INDEX, jsonb
from beat_actors.webhooks import deliveries
from beat_actors.webhooks.backoff import FAILURES, open_seconds

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(300)]
BEFORE, WAITING, ENDPOINTS = 20_000, 200_000, 5
ENDPOINT = """
INSERT INTO webhook_endpoint (id, url, events, key_id, secret) OVERRIDING SYSTEM VALUE
SELECT n, 'https://example.com/' || n, '{*}', 'k', 'x' FROM generate_series(1, %s) n
"""
FILL = """
INSERT INTO webhook_delivery (id, endpoint_id, event_id, type, data, occurred_at, state, next_at, expires_at, ended_at) OVERRIDING SYSTEM VALUE
SELECT n, 1 + n %% 5, gen_random_uuid(), 'beat.scrape_request.complete', jsonb_build_object('id', n), now(), %(state)s, now() + %(due)s::interval,
    now() + interval '1 day', CASE WHEN %(state)s <> 'pending' THEN now() END FROM generate_series(%(first)s::integer, %(last)s::integer) n
"""
ROOM = {"failures": FAILURES, "per_endpoint": 8, "per_account": 32, "limit": 100}


def passed(connection: psycopg.Connection[Any], sql: Any, params: Any) -> tuple[int, str]:
    """The most rows that a part of the plan read or left out."""
    row = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql.text}", params).fetchone()
    assert row is not None
    text = json.dumps(row[0][0]["Plan"])
    found = re.findall(r'"(?:Rows Removed by [^"]*|Actual Rows)": ([\d.]+)', text)
    return max(int(float(number)) for number in found), text


@pytest.mark.parametrize("due", ["-1 second", "1 hour"])
@pytest.mark.parametrize("statistics", ["none", "old", "new"])
def test_deliveries_are_claimed_and_settled_by_index(database_url: str, statistics: str, due: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(ENDPOINT, (ENDPOINTS,))
        connection.execute(FILL, {"state": "delivered", "due": "0", "first": 1, "last": BEFORE})
        if statistics == "old":
            connection.execute("VACUUM ANALYZE webhook_delivery")
        last = BEFORE + WAITING
        connection.execute(FILL, {"state": "pending", "due": due, "first": BEFORE + 1, "last": last})
        # One of each endpoint is due in any case, and one is late.
        connection.execute(
            "UPDATE webhook_delivery SET next_at = now() - interval '2 seconds' WHERE id > %s", (last - 5,)
        )
        connection.execute(
            "UPDATE webhook_delivery SET expires_at = now() - interval '1 second' WHERE id = %s", (last - 10,)
        )
        if statistics == "new":
            connection.execute("VACUUM ANALYZE webhook_delivery")
        outcomes = [
            {
                "id": one,
                "attempt": 1,
                "endpoint_id": 1 + one % 5,
                "delivered": True,
                "delay": 0,
                "gone": False,
                "pause": 0,
            }
            for one in range(last - 100, last)
        ]
        endpoints = {"endpoints": list(range(1, ENDPOINTS + 1)), "lease": 60.0}
        with connection.transaction():
            connection.execute(BY_INDEX.text)
            for sql, params in (
                (deliveries.CANDIDATES, ROOM),
                (deliveries.CLAIM, ROOM | endpoints),
                (deliveries.LATE, {"limit": 1000}),
            ):
                rows, text = passed(connection, sql, params)
                assert rows < WAITING / 20, f"{sql.name}: {text}"
        with connection.transaction():
            settling = {"outcomes": jsonb(outcomes), "failures": FAILURES, "cooldowns": open_seconds()}
            rows, text = passed(connection, deliveries.SETTLE, settling)
            assert rows < WAITING / 20, text
