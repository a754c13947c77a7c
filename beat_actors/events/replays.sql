-- fragment: columns
-- A replay, as `ReplayView`.
id, sink, from_seq, to_seq, types, subject, rate, position, sent, reason, backfill, created_at, ended_at, error,
CASE WHEN ended_at IS NULL THEN (to_seq - position)::double precision / rate END AS eta_seconds

-- name: until
-- The last place that an event may have which happened at a time or before: the one before the first that was given more than a minute later.
-- Parameters: at (timestamptz).
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT coalesce((SELECT seq - 1 FROM event_minute WHERE minute > %(at)s::timestamptz + interval '1 minute' ORDER BY minute LIMIT 1),
                (SELECT seq FROM event_sequence)) AS seq

-- name: first
-- The first place that the log still has; 0 where it has none.
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT coalesce((SELECT seq FROM event_log ORDER BY seq LIMIT 1), 0) AS seq

-- name: add
-- Asks for a replay. A sink has a bounded number of them.
-- Parameters: sink (text), from_seq, to_seq (bigint): places, both included, types (text[]), subject (text or null), rate (integer): events a second,
-- reason (text), backfill (boolean), since (timestamptz or null): when the first event of a backfill happened, most (bigint): open replays of a sink.
-- Rows: `ReplayView`, one.
-- Locks: the new row alone. Two at once may exceed the bound by one each.
-- No row: the sink has so many replays that have not ended.
INSERT INTO event_replay (sink, from_seq, to_seq, types, subject, rate, position, reason, backfill, since)
SELECT %(sink)s, %(from_seq)s::bigint, %(to_seq)s, %(types)s::text[], %(subject)s, %(rate)s, %(from_seq)s::bigint - 1, %(reason)s, %(backfill)s, %(since)s
WHERE (SELECT count(*) FROM event_replay WHERE sink = %(sink)s AND ended_at IS NULL) < %(most)s
RETURNING {{columns}}

-- name: list
-- Replays, the newest first.
-- Parameters: limit (bigint).
-- Rows: `ReplayView`.
-- Locks: none.
-- No row: there is none.
SELECT {{columns}} FROM event_replay ORDER BY id DESC LIMIT %(limit)s

-- name: cancel
-- Ends a replay. What the relay has read by then is still sent, two thousand events at most.
-- Parameters: id (bigint).
-- Rows: `ReplayView`, one.
-- Locks: the row.
-- No row: there is no such replay, or it has ended.
UPDATE event_replay SET ended_at = clock_timestamp(), error = 'cancelled by an operator' WHERE id = %(id)s AND ended_at IS NULL
RETURNING {{columns}}
