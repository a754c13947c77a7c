-- name: log
-- The log: its last place, and the events that have none yet. What is counted is bounded.
-- Parameters: within (double precision): seconds within which a living process has reported, process (text): the publisher's name, most (bigint):
-- events that are counted.
-- Rows: `LogView`, one.
-- Locks: none.
-- No row: never.
SELECT clock_timestamp() AS at, s.seq AS last,
       (SELECT count(*) FROM (SELECT FROM event_pending p WHERE p.id > s.floor LIMIT %(most)s) p) AS pending,
       (SELECT extract(epoch FROM clock_timestamp() - p.at)::double precision FROM event_pending p WHERE p.id > s.floor ORDER BY p.id LIMIT 1)
           AS pending_seconds,
       (SELECT count(*) FROM process WHERE name = %(process)s AND seen_at > clock_timestamp() - make_interval(secs => %(within)s)) AS publishers
FROM event_sequence s

-- name: sinks
-- Every sink that was ever configured, and how far it is behind the log. There are as many rows as sinks; of each, one place of the log is read, and
-- so many of its parked events.
-- Parameters: publishers (bigint): how many live, most (bigint): parked events that are counted.
-- Rows: `SinkView`, by name.
-- Locks: none.
-- No row: no publisher ever ran with a sink.
SELECT s.name, s.scheme, CASE
           WHEN s.lease_until > clock_timestamp() THEN CASE WHEN s.trouble IS NULL THEN 'publishing' ELSE 'standing' END
           WHEN %(publishers)s > 0 AND coalesce(s.lease_until, s.created_at) < clock_timestamp() - interval '30 seconds' THEN 'not_configured'
           WHEN %(publishers)s > 0 THEN 'starting' ELSE 'no_publisher' END AS state,
       s.trouble, s.reason, s.since, CASE WHEN s.lease_until > clock_timestamp() THEN s.holder END AS holder,
       s.seq, greatest(q.seq - s.seq, 0) AS lag_events,
       coalesce((SELECT CASE WHEN l.backfill THEN 0 ELSE extract(epoch FROM clock_timestamp() - l.at) END FROM event_log l WHERE l.seq > s.seq ORDER BY l.seq LIMIT 1), 0)::double precision
           AS lag_seconds,
       s.sent, s.returned, s.nacked,
       (SELECT count(*) FROM (SELECT FROM event_parked p WHERE p.sink = s.name LIMIT %(most)s) p) AS parked,
       (SELECT count(*) FROM event_replay r WHERE r.sink = s.name AND r.ended_at IS NULL) AS replays, s.wanted, s.created_at
FROM event_sink s, event_sequence q ORDER BY s.name

-- name: names
-- The sinks that have a row.
-- Rows: their names, in order.
-- Locks: none.
-- No row: there is none.
SELECT name FROM event_sink ORDER BY name
