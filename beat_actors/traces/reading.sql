-- name: place
-- Up to which place of the log the ends of requests were exported, and the last place.
-- Parameters: name (text) under which that is kept.
-- Rows: `Place`, one.
-- Locks: none.
-- No row: never.
SELECT m.position, s.seq AS last FROM event_sequence s LEFT JOIN metric_sum m ON m.name = %(name)s

-- name: page
-- The next places of the log whose events have happened long enough ago: up to the first that has not.
-- Parameters: after (bigint): a place, most (integer): places, seconds (double precision).
-- Rows: `Page`, one. `lost`: places between `after` and `last` that are not kept any more, or whose events are not.
-- Locks: none.
-- No row: never.
WITH places AS MATERIALIZED (
    SELECT seq, id, at FROM event_log WHERE seq > %(after)s ORDER BY seq LIMIT %(most)s
), ripe AS MATERIALIZED (
    SELECT seq, id, at FROM places WHERE seq < coalesce(
        (SELECT min(seq) FROM places WHERE at > clock_timestamp() - make_interval(secs => %(seconds)s)), 9223372036854775807)
)
SELECT max(l.seq) AS last, coalesce(max(l.seq) - %(after)s - count(e.id), 0) AS lost
FROM ripe l LEFT JOIN event e ON e.id = l.id AND e.at = l.at

-- name: lost
-- How much of a part of a page is lost.
-- Parameters: after, last (bigint): places.
-- Rows: `Lost`, one.
-- Locks: none.
-- No row: never.
SELECT %(last)s::bigint - %(after)s::bigint - count(*) AS places
FROM event_log l JOIN event e ON e.id = l.id AND e.at = l.at WHERE l.seq > %(after)s AND l.seq <= %(last)s

-- name: ends
-- The ends of requests that places of the log tell, with what decides whether their traces are exported. What an event says is of the end itself; what
-- the row says may be of a later run.
-- Parameters: after, last (bigint): places.
-- Rows: `Ended`, in the order of the places. `run`: null if the request is gone. `leader_…`: of the request whose fetches or answer this one shares.
-- Locks: none.
-- No row: no request has ended there.
WITH ends AS MATERIALIZED (
    SELECT l.seq, e.event_id, e.type, e.account_id, e.data, (e.data->>'id')::bigint AS id
    FROM event_log l JOIN event e ON e.id = l.id AND e.at = l.at
    WHERE l.seq > %(after)s AND l.seq <= %(last)s AND NOT l.backfill
      AND e.type IN ('beat.scrape_request.complete', 'beat.scrape_request.failed', 'beat.scrape_request.cancelled')
)
SELECT e.seq, e.event_id::text AS event_id, e.type, e.account_id, e.id, e.data->>'platform' AS platform, e.data->>'flow' AS flow,
       e.data->>'priority' AS priority, (e.data->>'created_at')::timestamptz AS created_at, (e.data->>'picked_at')::timestamptz AS picked_at,
       (e.data->>'scraped_at')::timestamptz AS scraped_at, (e.data->>'batch_id')::bigint AS batch_id, e.data->'data'->'error'->>'code' AS code,
       (e.data->'data'->>'items')::bigint AS items, r.retry_count AS run, r.trace, r.accepted_as,
       d.id AS leader_id, d.created_at AS leader_created_at, d.retry_count AS leader_run, d.trace AS leader_trace
FROM ends e LEFT JOIN scrape_request_log r ON r.id = e.id LEFT JOIN scrape_request_log d ON d.id = r.joined_to ORDER BY e.seq

-- name: fetches
-- The fetches of runs of requests, the first ones of each.
-- Parameters: ids (bigint[]) and runs (integer[]), pairwise, most (integer): fetches of a request.
-- Rows: `FetchRow`.
-- Locks: none.
-- No row: of a run, that it had none of its own.
SELECT f.request_id, f.run, f.id, f.operation, f.page, f.stage, f.source, f.attempt, f.rotations, f.retries, f.created_at, f.sent_at, f.claimed_at,
       f.parser_version, f.error->>'code' AS code
FROM unnest(%(ids)s::bigint[], %(runs)s::integer[]) AS w(id, run) CROSS JOIN LATERAL (
    SELECT * FROM scrape_fetch WHERE request_id = w.id AND run = w.run ORDER BY id LIMIT %(most)s) f ORDER BY f.request_id, f.id

-- name: calls
-- The calls that were made for requests, the first ones of each.
-- Parameters: ids (bigint[]), since and until (timestamptz), most (integer): calls of a request.
-- Rows: `CallRow`.
-- Locks: none.
-- No row: of a request, that none was made, or that they are past their age.
SELECT t.request_id, t.fetch_id, t.at, t.attempt, t.platform, t.source, t.operation, t.method, t.url, t.status, t.ms, t.bytes, t.outcome
FROM unnest(%(ids)s::bigint[]) AS w(id) CROSS JOIN LATERAL (
    SELECT * FROM trace_log WHERE request_id = w.id AND at BETWEEN %(since)s AND %(until)s ORDER BY at LIMIT %(most)s) t ORDER BY t.request_id, t.at

-- name: deliveries
-- Deliveries of events to webhooks that have ended. They are looked for at the first endpoints of the request's account, and at the first ones that are of no account.
-- Parameters: ids (bigint[]), events (uuid[]) and accounts (text[]), pairwise: requests, their events and their accounts, most (integer): endpoints of one.
-- Rows: `DeliveryRow`.
-- Locks: none.
-- No row: none has ended.
WITH endpoints AS MATERIALIZED (
    SELECT id, account_id FROM (
        SELECT id, account_id, row_number() OVER (PARTITION BY account_id ORDER BY id) AS number FROM webhook_endpoint
        WHERE account_id IS NULL OR account_id = ANY(%(accounts)s::text[])) AS one
    WHERE number <= %(most)s
)
SELECT w.id AS request_id, d.event_id::text AS event_id, d.type, d.endpoint_id, d.occurred_at, d.ended_at, d.attempt, d.state, d.status
FROM endpoints e JOIN unnest(%(ids)s::bigint[], %(events)s::uuid[], %(accounts)s::text[]) AS w(id, event, account)
    ON e.account_id IS NULL OR e.account_id = w.account
JOIN webhook_delivery d ON d.endpoint_id = e.id AND d.event_id = w.event
WHERE d.state <> 'pending' AND d.ended_at IS NOT NULL ORDER BY w.id, d.occurred_at, d.endpoint_id
