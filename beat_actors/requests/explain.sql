-- fragment: can_run
u.reasons IS NULL OR u.blocked_until IS NOT NULL

-- name: fetches
-- A request's fetches with what they wait for, for operators. Ahead of each are those of its tenant that came before it in its lane, since tenants
-- take turns (`own`); and all of more urgent lanes for the same, but for those that wait for a person (`urgent`): 10,001 at most of each.
-- Parameters: request (bigint).
-- No row: the request has none of its own.
SELECT f.id, f.operation, f.page, f.stage, f.source, f.credential_id, f.attempt, f.rotations, f.retries, f.waiting_for, f.not_before,
       f.excluded, f.unreadable, f.error, l.reasons, l.blocked_until, l.sources, f.lane_id, l.owner, f.tenant,
       f.stage IN ('LEASED', 'RETRIEVED', 'INGESTED') AND f.lease_until > clock_timestamp() AS worked_on,
       (SELECT count(*) FROM (
            SELECT FROM scrape_fetch o WHERE f.stage = 'WAITING' AND o.lane_id = f.lane_id AND o.tenant = f.tenant
                AND o.stage = 'WAITING' AND o.not_before IS NULL AND o.id < f.id LIMIT 10001) own) AS own,
       (SELECT count(*) FROM (
            SELECT FROM lane u JOIN scrape_fetch o ON o.lane_id = u.id AND o.stage = 'WAITING' AND o.not_before IS NULL
            WHERE f.stage = 'WAITING' AND u.platform = l.platform AND u.operation = l.operation AND u.owner = l.owner
                AND u.priority < l.priority AND ({{can_run}}) LIMIT 10001) urgent) AS urgent
FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id JOIN scrape_request_log r ON r.id = f.request_id AND r.retry_count = f.run
WHERE f.request_id = %(request)s ORDER BY f.id

-- name: fetches_of_account
-- The same for an account: it counts its own fetches alone, and is told nothing of a lane that others wait in.
-- Parameters: request (bigint).
-- No row: the request has none of its own.
SELECT f.id, f.operation, f.page, f.stage, f.source, f.credential_id, f.attempt, f.rotations, f.retries, f.waiting_for, f.not_before,
       f.excluded, f.unreadable, f.error, {{fetches/lanes.known}}, l.sources, f.lane_id, l.owner, f.tenant,
       f.stage IN ('LEASED', 'RETRIEVED', 'INGESTED') AND f.lease_until > clock_timestamp() AS worked_on,
       (SELECT count(*) FROM (
            SELECT FROM scrape_fetch o WHERE f.stage = 'WAITING' AND o.lane_id = f.lane_id AND o.tenant = f.tenant
                AND o.stage = 'WAITING' AND o.not_before IS NULL AND o.id < f.id LIMIT 10001) own) AS own,
       (SELECT count(*) FROM (
            SELECT FROM lane u JOIN scrape_fetch o ON o.lane_id = u.id AND o.stage = 'WAITING' AND o.not_before IS NULL AND o.tenant = f.tenant
            WHERE f.stage = 'WAITING' AND u.platform = l.platform AND u.operation = l.operation AND u.owner = l.owner
                AND u.priority < l.priority AND ({{can_run}} OR u.checked_at < o.created_at) LIMIT 10001) urgent) AS urgent
FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id JOIN scrape_request_log r ON r.id = f.request_id AND r.retry_count = f.run
WHERE f.request_id = %(request)s ORDER BY f.id

-- name: calls
-- The calls that were made for a request, in their order.
-- Parameters: request (bigint).
-- No row: none was made, or they are past their age.
SELECT at, fetch_id, source, operation, credential_id, url, status, ms, outcome, code, detail FROM trace_log
WHERE request_id = %(request)s ORDER BY at

-- name: unserved
-- Whether workers run and none of them has a platform. A worker that does not say what it has may have it.
-- Parameters: platform (text), seconds (since its last report for which a process is said to live).
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT count(*) > 0 AND bool_and(coalesce(NOT platforms @> ARRAY[%(platform)s], false)) AS unserved FROM process
WHERE name = 'worker' AND seen_at > clock_timestamp() - make_interval(secs => %(seconds)s)
