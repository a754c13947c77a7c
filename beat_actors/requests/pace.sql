-- fragment: leases
-- How many leases a second the platform got.
(SELECT sum(leased) / 60.0 FROM broker_decision WHERE platform = %(platform)s AND at > clock_timestamp() - interval '1 minute')
    ::double precision AS leases

-- fragment: came_before
-- Of the requests, those that came before the first that waits.
id <= coalesce((
    SELECT request_id FROM scrape_fetch
    WHERE lane_id = %(lane)s AND tenant BETWEEN %(tenant)s AND %(tenant)s AND stage = 'WAITING' AND not_before IS NULL
    ORDER BY tenant, id LIMIT 1), %(request)s)
ORDER BY id DESC LIMIT 2000

-- fragment: sent_lately
-- Of the tenant's requests `before`, the fetches that were sent within the minute.
JOIN scrape_fetch f ON f.request_id = before.id
WHERE beat_tenant(before.account_id, before.api_key_id) = %(tenant)s AND f.platform = %(platform)s
  AND f.stage <> 'WAITING' AND f.sent_at > clock_timestamp() - interval '1 minute'

-- fragment: of_flow
-- Of the `newest` requests, those of the flow that were completed last.
WHERE platform = %(platform)s AND flow = %(flow)s AND status = 'COMPLETE' AND picked_at IS NOT NULL
ORDER BY id DESC LIMIT 50

-- name: probes
-- Looks at some places of a tenant's part of a lane, evenly between its first fetch and one of its fetches: how densely its rows lie there.
-- Parameters: lane (integer), tenant (text), id (bigint: the fetch), places (integer), most (integer): rows at each place.
-- Rows: `Probe`, by place; each reads entries of the index (lane, tenant, id).
-- Locks: none.
-- No row: nothing waits before it.
SELECT p.place, n.rows, coalesce(n.last, p.next - 1) AS last FROM (
    SELECT first.id + (%(id)s::bigint - first.id) * k / %(places)s AS place, first.id + (%(id)s::bigint - first.id) * (k + 1) / %(places)s AS next
    FROM (SELECT id FROM scrape_fetch WHERE lane_id = %(lane)s AND tenant BETWEEN %(tenant)s AND %(tenant)s AND stage = 'WAITING' AND not_before IS NULL
          ORDER BY tenant, id LIMIT 1) first CROSS JOIN generate_series(0, %(places)s - 1) k
) p CROSS JOIN LATERAL (
    SELECT count(*) AS rows, max(id) AS last FROM (
        SELECT id FROM scrape_fetch WHERE lane_id = %(lane)s AND (tenant, id) >= (%(tenant)s, p.place) AND (tenant, id) < (%(tenant)s, %(id)s)
            AND stage = 'WAITING' AND not_before IS NULL ORDER BY tenant, id LIMIT %(most)s) looked) n
WHERE p.place < %(id)s ORDER BY p.place

-- name: minutes
-- How many leases a platform got in each of the last ten minutes, counted back from now, by the newest decisions.
-- Parameters: platform (text), most (integer): decisions that are read.
-- Rows: `Minute`, the oldest first, without minutes in which nothing was leased.
-- Locks: none.
-- No row: nothing was leased.
SELECT ago, sum(leased)::bigint AS leased FROM (
    SELECT floor(extract(epoch FROM clock_timestamp() - at) / 60)::integer AS ago, leased FROM broker_decision
    WHERE platform = %(platform)s AND at > clock_timestamp() - interval '10 minutes' ORDER BY at DESC LIMIT %(most)s) newest
WHERE leased > 0 GROUP BY ago ORDER BY ago DESC

-- name: tenants
-- How many tenants have something ready in each of some lanes, 1,001 at most: one step in the index (lane, tenant, id) for each.
-- Parameters: lanes (integer[]).
-- Rows: one for each lane.
-- No row: never.
SELECT l.id AS lane_id, (
    WITH RECURSIVE tenants AS (
        (SELECT tenant, 1 AS n FROM scrape_fetch WHERE lane_id = l.id AND stage = 'WAITING' AND not_before IS NULL ORDER BY tenant LIMIT 1)
        UNION ALL
        SELECT step.tenant, t.n + 1 FROM tenants t CROSS JOIN LATERAL (
            SELECT tenant FROM scrape_fetch
            WHERE lane_id = l.id AND tenant > t.tenant AND stage = 'WAITING' AND not_before IS NULL ORDER BY tenant LIMIT 1) step
        WHERE t.n < 1001
    ) SELECT count(*) FROM tenants) AS tenants
FROM unnest(%(lanes)s::integer[]) AS l(id)

-- name: pace
-- How long a flow took of late, from the first claim of a call on; how many leases a second the platform got; and how many of them its tenant got: the
-- fetches, sent within the minute, of those of its requests that came before the first that waits. Only the newest rows are asked: an
-- estimate need not be more exact than the minute that it is made from. For requests of no account, among the requests of all.
-- Parameters: platform, flow, tenant (text), lane (integer) (tenant and lane null where nothing waits), request (bigint).
-- Rows: one; null for what is not known.
-- No row: never.
SELECT clock_timestamp() AS now, {{leases}},
       (SELECT count(*) / 60.0 FROM (
            SELECT id, account_id, api_key_id FROM scrape_request_log WHERE {{came_before}}
        ) before {{sent_lately}})::double precision AS own,
       (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM scraped_at - picked_at)) FROM (
            SELECT scraped_at, picked_at FROM (
                SELECT id, platform, flow, status, scraped_at, picked_at FROM scrape_request_log ORDER BY id DESC LIMIT 2000
            ) newest {{of_flow}}
        ) done)::double precision AS seconds

-- name: pace_of_account
-- The same for requests of an account, by the index of its requests.
-- Parameters: platform, flow, tenant (text), lane (integer) (tenant and lane null where nothing waits), request (bigint), account (text).
-- Rows: one; null for what is not known.
-- No row: never.
SELECT clock_timestamp() AS now, {{leases}},
       (SELECT count(*) / 60.0 FROM (
            SELECT id, account_id, api_key_id FROM scrape_request_log WHERE account_id = %(account)s AND {{came_before}}
        ) before {{sent_lately}})::double precision AS own,
       (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM scraped_at - picked_at)) FROM (
            SELECT scraped_at, picked_at FROM (
                SELECT id, platform, flow, status, scraped_at, picked_at FROM scrape_request_log WHERE account_id = %(account)s ORDER BY id DESC LIMIT 2000
            ) newest {{of_flow}}
        ) done)::double precision AS seconds
