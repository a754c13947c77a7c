"""What is promised of requests, held against the tables: a ledger of what consumers asked for and did, and SQL for what may never be there."""

from typing import Any

from beat_actors.requests.retry import RETRYABLE
from tests.walks import Walk

OPEN = ("PENDING", "PROCESSING")
_OPEN = "status IN ('PENDING', 'PROCESSING')"
_UNDER_WAY = "stage NOT IN ('DONE', 'FAILED', 'CANCELLED')"

# P1: whoever waits, for fetches of its own or for those of another request, waits for something, and it is counted right.
LOST = f"""
WITH r AS (
    SELECT r.*, r.{_OPEN} AS waits,
           (SELECT count(*) FROM scrape_fetch f WHERE f.request_id = r.id AND f.run = r.retry_count AND f.{_UNDER_WAY}) AS fetches,
           (SELECT count(*) FROM scrape_request_log j WHERE j.joined_to = r.id AND j.{_OPEN}) AS joined
    FROM scrape_request_log r
)
SELECT 'waits for nothing' AS what, id FROM r WHERE waits AND NOT live AND joined_to IS NULL
UNION ALL SELECT 'joined what has ended', id FROM r WHERE joined > 0 AND NOT live
UNION ALL SELECT 'has fetches and has joined', id FROM r WHERE live AND joined_to IS NOT NULL
UNION ALL SELECT 'goes on for nobody', id FROM r WHERE live AND NOT waits AND joined = 0
UNION ALL SELECT 'fetches', id FROM r WHERE live AND (open_fetches <> fetches OR fetches = 0)
UNION ALL SELECT 'waiters', id FROM r WHERE live AND waiters <> joined
UNION ALL SELECT 'complete, and is fetched', id FROM r WHERE status = 'COMPLETE' AND (open_fetches <> 0 OR fetches <> 0)
UNION ALL SELECT 'waits unwanted', r.id FROM r JOIN scrape_fetch f ON f.request_id = r.id
    WHERE f.stage = 'WAITING' AND NOT (r.live AND f.run = r.retry_count)
UNION ALL SELECT 'is never settled', request_id FROM scrape_fetch f WHERE stage = 'SETTLING'
    AND NOT EXISTS (SELECT FROM settlement s WHERE s.fetch_id = f.id AND s.fence = f.fence)
"""
# P2. A request that ran again has ended once more: each end is told once, by an event of its own.
TWICE = f"""
SELECT 'effect' AS what, fetch_id::text || post_id AS of FROM post_log GROUP BY 2 HAVING count(*) > 1
UNION ALL SELECT 'follow-up', f.request_id || ' run ' || run || ' ' || params || ' page ' || page FROM scrape_fetch f GROUP BY 2 HAVING count(*) > 1
UNION ALL SELECT 'payload', fetch_id || ' try ' || attempt FROM raw_payload GROUP BY 2 HAVING count(*) > 1
UNION ALL SELECT 'trace', fetch_id || ' try ' || attempt FROM trace_log GROUP BY 2 HAVING count(*) > 1
UNION ALL SELECT 'items', r.id::text FROM scrape_request_log r WHERE r.status = 'COMPLETE' AND r.joined_to IS NULL AND r.items <> (
    SELECT count(*) FROM scrape_fetch f JOIN post_log p ON p.fetch_id = f.id WHERE f.request_id = r.id AND f.run = r.retry_count)
UNION ALL SELECT 'key', idempotency_key FROM scrape_request_log WHERE idempotency_key IS NOT NULL GROUP BY 2 HAVING count(*) > 1
UNION ALL SELECT 'end', r.id::text FROM scrape_request_log r CROSS JOIN LATERAL (
    SELECT count(*) AS told, (array_agg(data->>'status' ORDER BY id DESC))[1] AS last FROM event WHERE subject = 'scrape_request/' || r.id
        AND type IN ('beat.scrape_request.complete', 'beat.scrape_request.failed', 'beat.scrape_request.cancelled')) e
    WHERE e.told <> r.retry_count + (NOT r.{_OPEN})::integer OR (NOT r.{_OPEN} AND e.last <> r.status)
UNION ALL SELECT 'version', subject FROM event WHERE version IS NOT NULL GROUP BY 2 HAVING count(*) <> max(version) OR count(DISTINCT version) <> count(*)
    OR array_agg(version ORDER BY id) <> array_agg(version ORDER BY version)
"""
# P4. What is claimed and not traced may have called.
COUNTS = """
SELECT (SELECT count(*) FROM trace_log) AS traced, (SELECT count(*) FROM scrape_fetch WHERE stage = 'LEASED' AND lease_until IS NOT NULL) AS claimed,
       (SELECT count(*) FROM trace_log WHERE outcome <> 'unknown') AS known,
       (SELECT coalesce(sum(calls), 0)::bigint FROM credential_usage WHERE limit_name = 'total') AS charged,
       (SELECT coalesce(sum(calls), 0)::bigint FROM settlement WHERE outcome NOT IN ('unused', 'unreached') AND credential_id > 0) AS unsettled
"""
REQUESTS = """
SELECT id, params, status, live, retry_count, scraped_at, items, data->'error'->>'code' AS code, coalesce(data ? 'partial', false) AS partial
FROM scrape_request_log ORDER BY id
"""
# What is left of anything, once nobody waits any more and every call that was out has come back.
LEFT = f"""
SELECT 'fetch' AS what, id FROM scrape_fetch WHERE {_UNDER_WAY}
UNION ALL SELECT 'live', id FROM scrape_request_log WHERE live
UNION ALL SELECT 'settlement', id FROM settlement
UNION ALL SELECT 'replay', id FROM quarantine WHERE replay_at IS NOT NULL AND resolved_at IS NULL
"""


class Ledger:
    """What consumers asked for and did, and so what may have become of each request: it ends once, and stays as it ended
    until it is run again."""

    def __init__(self) -> None:
        self.asked: dict[int, Walk] = {}
        self.keys: dict[str, tuple[int, Walk]] = {}
        self._runs: dict[int, int] = {}
        self._cancelled: set[int] = set()
        self._dated: set[int] = set()
        self._ended: dict[int, tuple[Any, ...]] = {}

    def ask(self, request_id: int, walk: Walk, *, dated: bool = False) -> None:
        assert request_id not in self.asked
        self.asked[request_id] = walk
        self._runs[request_id] = 0
        if dated:
            self._dated.add(request_id)

    def cancel(self, request_ids: list[int]) -> None:
        self._cancelled.update(request_ids)

    def run_again(self, request_id: int) -> None:
        self._runs[request_id] += 1
        self._cancelled.discard(request_id)
        self._ended.pop(request_id, None)

    def has_ended(self, request_id: int) -> bool:
        return request_id in self._ended

    def check(self, requests: list[Any]) -> None:
        """Hold the rows of `REQUESTS` against what is known of them."""
        assert [row.id for row in requests] == sorted(self.asked)
        for row in requests:
            walk = self.asked[row.id]
            assert Walk(**row.params) == walk
            assert row.retry_count == self._runs[row.id], row
            assert (row.status == "CANCELLED") == (row.id in self._cancelled), row
            if row.status in OPEN:
                assert row.id not in self._ended, row
                continue
            end = (row.status, row.scraped_at, row.code)
            assert self._ended.setdefault(row.id, end) == end, row
            assert (row.status in RETRYABLE) == (row.code is not None), row
            assert row.code != "expired" or row.id in self._dated, row
            # A later page that does not exist leaves its request complete with what it has.
            if row.status == "COMPLETE":
                assert row.items == walk.items or (row.partial and row.items < walk.items), row
