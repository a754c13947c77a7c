-- name: settings
-- What operators set of a platform's flows.
-- Parameters: platform (text).
-- No row: every flow is as it declares.
SELECT flow, workers, concurrency, paused FROM flow_setting WHERE platform = %(platform)s

-- name: overview
-- Flows as operators see them: what is set, how many calls are out, and what waits, counted up to `most` for each lane.
-- Parameters: platforms, flows (text[]: parallel lists, the flows that are asked for), most (fetches of a lane that are counted).
-- No row: no flow is asked for.
SELECT platform, flow, s.workers, s.concurrency, coalesce(s.paused, false) AS paused, s.changed_at, coalesce(o.calls, 0) AS out,
       coalesce(w.fetches, 0) AS waiting, extract(epoch FROM clock_timestamp() - w.since)::float8 AS waiting_for
FROM unnest(%(platforms)s::text[], %(flows)s::text[]) AS asked(platform, flow)
LEFT JOIN flow_setting s USING (platform, flow)
LEFT JOIN (SELECT f.platform, l.flow, count(*) FILTER (WHERE f.call_of IS NULL) AS calls
           FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id WHERE f.stage = 'LEASED' GROUP BY 1, 2) o USING (platform, flow)
LEFT JOIN (SELECT l.platform, l.flow, sum(n.fetches)::integer AS fetches, min(n.since) AS since FROM lane l CROSS JOIN LATERAL (
               SELECT count(*) AS fetches, min(created_at) AS since FROM (SELECT created_at FROM scrape_fetch WHERE lane_id BETWEEN l.id AND l.id AND stage = 'WAITING'
                   AND not_before IS NULL ORDER BY lane_id, id LIMIT %(most)s) found) n GROUP BY 1, 2) w USING (platform, flow)
ORDER BY platform, flow

-- name: uploading
-- The flow of uploads, in the form of `overview`: assets in flight, and those that wait, counted up to `most`.
-- Parameters: platform, flow (text): its name, most (integer).
-- Rows: `FlowRow`, one. How long the first one has waited is not known, since they are not taken in the order in which they came.
-- No row: never.
SELECT one.platform, one.flow, s.workers, s.concurrency, coalesce(s.paused, false) AS paused, s.changed_at,
       (SELECT count(*)::integer FROM asset_log WHERE status = 'PROCESSING') AS out,
       (SELECT count(*)::integer FROM (SELECT FROM asset_log WHERE status = 'PENDING' AND class IS NOT NULL LIMIT %(most)s) pending) AS waiting,
       NULL::float8 AS waiting_for
FROM (SELECT %(platform)s::text AS platform, %(flow)s::text AS flow) one LEFT JOIN flow_setting s USING (platform, flow)

-- name: change
-- Sets what an operator says of a flow, and leaves the rest as it is.
-- Parameters: platform, flow (text), workers, concurrency (integer; null: as declared), sets_workers, sets_concurrency (boolean: whether
-- that is said), paused (boolean; null: as it is).
-- Locks: the flow's row, under the platform's lock.
INSERT INTO flow_setting AS s (platform, flow, workers, concurrency, paused)
VALUES (%(platform)s, %(flow)s, %(workers)s, %(concurrency)s, coalesce(%(paused)s, false))
ON CONFLICT (platform, flow) DO UPDATE SET
    workers = CASE WHEN %(sets_workers)s THEN excluded.workers ELSE s.workers END,
    concurrency = CASE WHEN %(sets_concurrency)s THEN excluded.concurrency ELSE s.concurrency END,
    paused = coalesce(%(paused)s, s.paused), changed_at = clock_timestamp()
