"""A turn reads of each account what it can lease to it, whatever waits in the lane for the others."""

import json
from typing import Any

import psycopg
import pytest

from beat_actors.broker.leasing import CANDIDATES
from beat_actors.database import jsonb

TENANTS, EACH, WANTED = 500, 20, 20
LANES = 500
"""Of the others, each with so many that the planner thinks little of a lane."""
WAITING = f"""
INSERT INTO lane (platform, flow, operation, priority, sources) VALUES ('toy', 'flow', 'look', 3, '{{first}}');
INSERT INTO lane (platform, flow, operation, priority, sources, owner)
SELECT 'toy', 'flow', 'look', 3, '{{first}}', 'owner' || n FROM generate_series(1, {LANES}) n;
WITH request AS (
    INSERT INTO scrape_request_log (platform, flow, params) SELECT 'toy', 'flow', '{{}}' FROM generate_series(1, {TENANTS * EACH}) RETURNING id
)
INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, priority, tenant)
SELECT r.id, l.id, 'toy', 'look', '{{}}', 3, 'account/' || r.id % {TENANTS}
FROM request r, lane l WHERE l.owner = '' OR l.id = 2 + r.id % {LANES};
ANALYZE;
"""


def rows_read(plan: dict[str, Any]) -> int:
    """Rows that came from the table or were looked at and thrown away."""
    own = 0
    if plan.get("Relation Name") == "scrape_fetch":
        own = round((plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"])
    return own + sum(rows_read(child) for child in plan.get("Plans", ()))


@pytest.mark.slow
@pytest.mark.parametrize("served", ["", f"account/{TENANTS // 2}"])
def test_candidates_of_many_accounts_are_read_and_no_others(database_url: str, served: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(WAITING)
        (lane,) = connection.execute("SELECT id FROM lane WHERE owner = ''").fetchone() or (0,)
        values = {"lanes": jsonb([{"id": lane, "served": served, "rows": WANTED}]), "now": 0.0}
        found = connection.execute(CANDIDATES.text, values).fetchall()
        (told,) = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {CANDIDATES.text}", values).fetchone() or (None,)
    assert len({row[2] for row in found}) == WANTED
    assert rows_read((told if isinstance(told, list) else json.loads(told))[0]["Plan"]) < 10 * WANTED
