"""How long a request that waits is likely to take: from what is ahead of it, and the leases that its tenant has got of late."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from beat_actors.database import Transaction
from beat_actors.requests.queries import RequestView

UNKNOWN_TAKES = 2.0
"""Seconds that a flow is taken to need where none of it has been complete of late."""
UNKNOWN_LEASES = 10.0
"""Leases a second that a platform, or a tenant, is taken to get where it has had none of late."""
# How many tenants have something ready in each of these lanes, 1,001 at most: one step in the index (lane, tenant, id) for each.
TENANTS = """
SELECT l.id AS lane_id, (
    WITH RECURSIVE tenants AS (
        (SELECT tenant, 1 AS n FROM scrape_fetch WHERE lane_id = l.id AND stage = 'WAITING' AND not_before IS NULL ORDER BY tenant LIMIT 1)
        UNION ALL
        SELECT step.tenant, t.n + 1 FROM tenants t CROSS JOIN LATERAL (
            SELECT tenant FROM scrape_fetch
            WHERE lane_id = l.id AND tenant > t.tenant AND stage = 'WAITING' AND not_before IS NULL ORDER BY tenant LIMIT 1) step
        WHERE t.n < 1001
    ) SELECT count(*) FROM tenants) AS tenants
FROM unnest(%s::integer[]) AS l(id)
"""
# How long the flow took of late, from its first lease on; how many leases a second the platform got; and how many of them its tenant
# got: the fetches, sent within the minute, of those of its requests that came before the first that waits. Only the newest rows are
# asked: an estimate need not be more exact than the minute that it is made from.
_PACE = """
SELECT clock_timestamp() AS now,
       (SELECT sum(leased) / 60.0 FROM broker_decision WHERE platform = %(platform)s AND at > clock_timestamp() - interval '1 minute')
           ::double precision AS leases,
       (SELECT count(*) / 60.0 FROM (
            SELECT id, account_id, api_key_id FROM scrape_request_log
            WHERE {mine} AND id <= coalesce((
                SELECT request_id FROM scrape_fetch
                WHERE lane_id = %(lane)s AND tenant BETWEEN %(tenant)s AND %(tenant)s AND stage = 'WAITING' AND not_before IS NULL
                ORDER BY tenant, id LIMIT 1), %(request)s)
            ORDER BY id DESC LIMIT 2000) before
        JOIN scrape_fetch f ON f.request_id = before.id
        WHERE beat_tenant(before.account_id, before.api_key_id) = %(tenant)s AND f.platform = %(platform)s
          AND f.stage <> 'WAITING' AND f.sent_at > clock_timestamp() - interval '1 minute')::double precision AS own,
       (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM scraped_at - picked_at)) FROM (
            SELECT scraped_at, picked_at FROM (
                SELECT id, platform, flow, status, scraped_at, picked_at FROM scrape_request_log
                WHERE {mine} ORDER BY id DESC LIMIT 2000) newest
            WHERE platform = %(platform)s AND flow = %(flow)s AND status = 'COMPLETE' AND picked_at IS NOT NULL
            ORDER BY id DESC LIMIT 50) done)::double precision AS seconds
"""
# One for requests of an account, by the index of its requests; one for those of none, among the requests of all.
PACE = _PACE.format(mine="true")
PACE_OF_ACCOUNT = _PACE.format(mine="account_id = %(account)s")


async def tenants(transaction: Transaction, rows: Sequence[Any]) -> dict[int, int]:
    """How many tenants take turns, by the lane of each of these fetches that is ready. `rows`: as `explain` reads them."""
    lanes = {row.lane_id for row in rows if row.stage == "WAITING" and row.not_before is None}
    if not lanes:
        return {}
    return {row.lane_id: row.tenants for row in await transaction.rows(TENANTS, (sorted(lanes),))}


async def eta(
    transaction: Transaction,
    request: RequestView,
    rows: Sequence[Any],
    earliest: datetime | None,
    tenants: Mapping[int, int],
    *,
    own: bool,
) -> datetime:
    """When the request is complete, as things go now.

    `rows`: its fetches. `earliest`: when the first that waits can run. `own`: what is ahead was counted of its account alone; nothing
    but the account's own leases has a part in the estimate then.
    """
    waiting = [row for row in rows if row.stage == "WAITING"]
    first = waiting[0] if waiting else None
    asked = {
        "platform": request.platform,
        "flow": request.flow,
        "request": request.joined_to or request.id,
        "account": request.account_id,
        "lane": None if first is None else first.lane_id,
        "tenant": None if first is None else first.tenant,
    }
    pace: Any = await transaction.row(PACE if request.account_id is None else PACE_OF_ACCOUNT, asked)
    takes = timedelta(seconds=pace.seconds if pace.seconds is not None else UNKNOWN_TAKES)
    now: datetime = pace.now
    if not waiting:
        return max((request.picked_at or now) + takes, now)
    last = max(waiting, key=lambda row: row.own + row.urgent)
    if own:
        seconds = (last.own + last.urgent) / (pace.own or UNKNOWN_LEASES)
    else:
        leases = pace.leases or UNKNOWN_LEASES
        # A tenant that has got nothing of late is taken to get its share.
        seconds = last.urgent / leases + last.own / (pace.own or leases / tenants.get(last.lane_id, 1))
    return max(earliest or now, now) + timedelta(seconds=seconds) + takes
