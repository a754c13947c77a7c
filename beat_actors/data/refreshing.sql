-- name: look
-- The request that refreshes a thing, or did so last, and what its first open fetch waits for; failing that, what holds up the lane into which
-- it would come, or that its sources are out: so that the reason is told from the first read on. An account is told nothing of a lane for which
-- the broker has not looked at its own fetch: others wait there.
-- Parameters: work (bytea): what is refreshed, and the lane into which a refresh would come: platform, flow, operation (text), sources (text[]),
-- owner (text), account (text, NULL: everybody's).
-- Rows: `Look`, one.
-- Locks: none.
-- No row: never.
SELECT clock_timestamp() AS now, r.id, r.status, r.created_at, r.scraped_at, r.data->'error' AS error, f.stage, f.source, f.waiting_for,
       f.not_before, coalesce(known.blocked_until, own.blocked_until, alike.blocked_until) AS blocked_until,
       coalesce(known.reasons, own.reasons, alike.reasons, outage.reasons) AS reasons
FROM (SELECT) one
LEFT JOIN (data_refresh d JOIN scrape_request_log r ON r.id = d.request_id) ON d.work = %(work)s
LEFT JOIN LATERAL (
    SELECT * FROM scrape_fetch WHERE request_id = coalesce(r.joined_to, r.id) AND stage NOT IN ('DONE', 'FAILED', 'CANCELLED')
    ORDER BY id LIMIT 1) f ON true
LEFT JOIN LATERAL (SELECT {{fetches/lanes.known}} FROM lane l WHERE l.id = f.lane_id) known ON %(account)s::text IS NOT NULL
LEFT JOIN lane own ON own.id = f.lane_id AND own.reasons IS NOT NULL AND %(account)s::text IS NULL
LEFT JOIN LATERAL (
    SELECT * FROM lane WHERE %(account)s::text IS NULL AND platform = %(platform)s AND operation = %(operation)s AND sources = %(sources)s AND owner = %(owner)s
        AND (flow = %(flow)s OR NOT reasons @> '[{"source": null}]') AND blocked_until > clock_timestamp() ORDER BY blocked_until LIMIT 1) alike ON true
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('source', source, 'why', CASE WHEN by_hand
                         THEN 'paused by an operator: no calls are sent' ELSE 'outage: its breaker is open' END, 'until', extract(epoch FROM open_until))
                     ORDER BY open_until) AS reasons
    FROM breaker WHERE platform = %(platform)s AND operation = %(operation)s AND source = ANY(%(sources)s) AND kind = 'upstream'
        AND open_until > clock_timestamp() HAVING count(*) = cardinality(%(sources)s)) outage ON true

-- name: lock
-- Lets one transaction at a time look whether a refresh is underway, and start it.
-- Parameters: key (bigint): what is refreshed.
-- Locks: an advisory lock until the transaction ends; it waits for it.
SELECT FROM pg_advisory_xact_lock(%(key)s)

-- name: underway
-- The request that refreshes a thing now.
-- Parameters: work (bytea): what is refreshed.
-- Rows: its id.
-- Locks: none.
-- No row: no refresh is underway.
SELECT r.id FROM data_refresh d JOIN scrape_request_log r ON r.id = d.request_id
WHERE d.work = %(work)s AND r.status IN ('PENDING', 'PROCESSING')

-- name: remember
-- Notes which request refreshes a thing.
-- Parameters: work (bytea): what is refreshed, request (bigint).
-- Locks: the row; starters wait for `lock` before.
INSERT INTO data_refresh (work, request_id) VALUES (%(work)s, %(request)s) ON CONFLICT (work) DO UPDATE SET request_id = excluded.request_id
