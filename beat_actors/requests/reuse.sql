-- name: older
-- Notes that results of complete requests are older than they were said to be.
-- Parameters: ids (bigint[]), ascending; times (timestamptz[]), by place: NULL is as old as can be.
-- Locks: the requests, in the order of their ids.
-- No row: their results were as old before, or they are not kept.
UPDATE scrape_request_log r SET observed_at = n.at
FROM (SELECT r.id, coalesce(n.at, to_timestamp(0)) AS at FROM unnest(%(ids)s::bigint[], %(times)s::timestamptz[]) AS n (id, at)
      JOIN scrape_request_log r ON r.id = n.id WHERE r.status = 'COMPLETE' AND r.observed_at > coalesce(n.at, to_timestamp(0))
      ORDER BY r.id FOR NO KEY UPDATE OF r) n
WHERE r.id = n.id
