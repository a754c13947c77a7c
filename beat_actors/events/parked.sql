-- name: list
-- Parked events, those of each sink in the order of the log.
-- Parameters: sink (text or null), limit (bigint).
-- Rows: `ParkedView`.
-- Locks: none.
-- No row: none is parked.
SELECT p.sink, p.seq, e.event_id::text AS id, e.type, p.subject, p.trouble, p.reason, p.behind, p.tries, p.parked_at, p.next_at
FROM (SELECT * FROM event_parked WHERE %(sink)s::text IS NULL OR sink = %(sink)s ORDER BY sink, seq LIMIT %(limit)s) p
LEFT JOIN event e ON e.id = p.id AND e.at = p.at ORDER BY p.sink, p.seq

-- name: retry
-- Makes parked events due, those of the selection that wait for no earlier one of their subject.
-- Parameters: sink (text), seqs (bigint[] or null), subject, trouble (text or null), limit (bigint).
-- Locks: the rows.
-- No row: never; the statement gives none.
UPDATE event_parked SET next_at = clock_timestamp() WHERE sink = %(sink)s AND seq = ANY(ARRAY(
    SELECT seq FROM event_parked WHERE sink = %(sink)s AND NOT behind AND (%(seqs)s::bigint[] IS NULL OR seq = ANY(%(seqs)s))
        AND (%(subject)s::text IS NULL OR subject = %(subject)s) AND (%(trouble)s::text IS NULL OR trouble = %(trouble)s)
    ORDER BY seq LIMIT %(limit)s))

-- name: lock
-- Locks parked events that are to be given up.
-- Parameters: sink (text), seqs (bigint[]).
-- Rows: `Given`.
-- Locks: the rows, by their places.
-- No row: none of them is parked.
SELECT p.seq, e.event_id::text AS id, p.subject FROM event_parked p LEFT JOIN event e ON e.id = p.id AND e.at = p.at
WHERE p.sink = %(sink)s AND p.seq = ANY(%(seqs)s) ORDER BY p.seq FOR NO KEY UPDATE OF p

-- name: held
-- Whether a publisher that lives has a sink.
-- Parameters: sink (text).
-- Rows: one.
-- Locks: none.
-- No row: there is no such sink.
SELECT coalesce(lease_until > clock_timestamp(), false) AS held FROM event_sink WHERE name = %(sink)s

-- name: forget_parked
-- Deletes parked events of a sink that is forgotten.
-- Parameters: sink (text), limit (bigint).
-- Locks: the rows.
-- No row: never; the statement gives none.
DELETE FROM event_parked WHERE sink = %(sink)s AND seq = ANY(ARRAY(
    SELECT seq FROM event_parked WHERE sink = %(sink)s ORDER BY seq LIMIT %(limit)s))

-- name: forget_replays
-- Deletes the replays of a sink that is forgotten.
-- Parameters: sink (text).
-- Locks: the rows.
-- No row: never; the statement gives none.
DELETE FROM event_replay WHERE sink = %(sink)s

-- name: forget
-- Deletes a sink that no publisher has.
-- Parameters: sink (text).
-- Rows: `Forgotten`, one.
-- Locks: the row.
-- No row: there is no such sink, or a publisher holds its lease.
DELETE FROM event_sink WHERE name = %(sink)s AND coalesce(lease_until <= clock_timestamp(), true) RETURNING seq, sent
