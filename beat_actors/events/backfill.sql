-- name: known
-- The ids of the events at the next places that a backfill could write again.
-- Parameters: after, up_to (bigint): places, limit (bigint), since, until (timestamptz): when they happened, types (text[]).
-- Rows: `Known`, in order; without an id where the event is another.
-- Locks: none.
-- No row: the log has no more.
SELECT l.seq, e.event_id::text AS id, l.backfill
FROM (SELECT seq, id, at, backfill FROM event_log WHERE seq > %(after)s AND seq <= %(up_to)s ORDER BY seq LIMIT %(limit)s) l
LEFT JOIN event e ON e.id = l.id AND e.at = l.at AND e.type = ANY(%(types)s) AND e.at >= %(since)s::timestamptz - interval '10 minutes'
    AND e.at < %(until)s::timestamptz + interval '10 minutes'
ORDER BY l.seq

-- name: earlier
-- The places that earlier backfills have written.
-- Rows: `Span`.
-- Locks: none.
-- No row: there was none.
SELECT from_seq, to_seq FROM event_replay WHERE backfill ORDER BY id

-- name: ended
-- The next requests by their ids, with the ids of the events of their ends.
-- Parameters: after (bigint), limit (bigint), since, until (timestamptz): when they ended.
-- Rows: `Ended`, in order; without an id where the request has not ended within this time.
-- Locks: none.
-- No row: there are no more.
SELECT r.id, CASE WHEN r.status IN ('COMPLETE', 'FAILED', 'CANCELLED') AND r.scraped_at >= %(since)s AND r.scraped_at < %(until)s
    THEN md5('request ' || r.id || ' ' || r.status || ' ' || r.retry_count)::uuid::text END AS event_id
FROM scrape_request_log r WHERE r.id > %(after)s ORDER BY r.id LIMIT %(limit)s

-- name: write_ended
-- Writes the events of the ends of requests, as they were when they ended, with the ids that these events have had.
-- Parameters: ids (bigint[]): requests that have ended.
-- Rows: the ids of the rows.
-- Locks: the new rows.
-- No row: the requests are gone, or were run again meanwhile.
INSERT INTO event (at, event_id, type, subject, version, account_id, data)
SELECT scraped_at, md5('request ' || id || ' ' || status || ' ' || retry_count)::uuid, 'beat.scrape_request.' || lower(status), 'scrape_request/' || id,
       nullif(event_version, 0), account_id, {{requests/lifecycle.payload}}
FROM scrape_request_log WHERE id = ANY(%(ids)s) AND status IN ('COMPLETE', 'FAILED', 'CANCELLED') ORDER BY scraped_at, id
RETURNING id

-- name: changes
-- The ids of the events that tell that entities have changed.
-- Parameters: platform, kind (text); arrays of equal length: requests (bigint[]), owners (text[]), observed (timestamptz[]).
-- Rows: the ids, in this order.
-- Locks: none.
-- No row: the arrays are empty.
SELECT md5(concat_ws(' ', 'changed', %(platform)s::text, %(kind)s::text, request_id, owner, extract(epoch FROM observed_at)))::uuid::text AS id
FROM unnest(%(requests)s::bigint[], %(owners)s::text[], %(observed)s::timestamptz[]) WITH ORDINALITY AS c(request_id, owner, observed_at, n) ORDER BY n

-- name: write_changes
-- Writes events that tell that entities have changed, at the times of their observations, with the ids that these events have had.
-- Parameters: platform, kind (text); arrays of equal length: requests (bigint[]), accounts, owners (text[]), observed (timestamptz[]), keys (text[]):
-- JSON arrays.
-- Rows: the ids of the rows.
-- Locks: the new rows.
-- No row: the arrays are empty.
INSERT INTO event (at, event_id, type, subject, account_id, owner, data)
SELECT observed_at, md5(concat_ws(' ', 'changed', %(platform)s::text, %(kind)s::text, request_id, owner, extract(epoch FROM observed_at)))::uuid,
       'beat.data.changed', 'scrape_request/' || request_id, account_id, owner,
       jsonb_build_object('platform', %(platform)s::text, 'kind', %(kind)s::text, 'request_id', request_id, 'account_id', nullif(account_id, ''),
                          'observed_at', observed_at, 'keys', keys::jsonb)
FROM unnest(%(requests)s::bigint[], %(accounts)s::text[], %(owners)s::text[], %(observed)s::timestamptz[], %(keys)s::text[])
    AS c(request_id, account_id, owner, observed_at, keys) ORDER BY observed_at, request_id
RETURNING id

-- name: place
-- Gives events that this transaction has written their places, which only the replay of a backfill reads. The sequencer waits for its end.
-- Parameters: ids (bigint[]): rows of `event` that are pending.
-- Rows: `Span`, one.
-- Locks: the row of `event_sequence`; the pending rows; the new rows.
-- No row: never.
WITH s AS MATERIALIZED (SELECT seq FROM event_sequence FOR NO KEY UPDATE), gone AS (
    DELETE FROM event_pending WHERE id = ANY(%(ids)s) RETURNING id, at, account_id
), logged AS (
    INSERT INTO event_log (seq, id, at, account_id, changes, backfill)
    SELECT s.seq + row_number() OVER (ORDER BY g.id), g.id, g.at, g.account_id, false, true FROM gone g, s
), counted AS (
    UPDATE event_sequence e SET seq = e.seq + (SELECT count(*) FROM gone)
)
SELECT s.seq + 1 AS from_seq, s.seq + (SELECT count(*) FROM gone) AS to_seq FROM s

-- name: extend
-- Writes down up to which place a backfill has written, for another run where this one breaks off.
-- Parameters: id (bigint): the replay, to_seq (bigint).
-- Locks: the row.
-- No row: it was cancelled meanwhile; the statement touches none.
UPDATE event_replay SET to_seq = %(to_seq)s WHERE id = %(id)s AND ended_at IS NULL

-- name: finish
-- Hands a backfill that is written over to the relay of its sink.
-- Parameters: id (bigint): the replay, sink (text), from_seq, to_seq (bigint).
-- Rows: `ReplayView`, one.
-- Locks: the row.
-- No row: it was cancelled meanwhile.
UPDATE event_replay SET sink = %(sink)s, from_seq = %(from_seq)s::bigint, to_seq = %(to_seq)s, position = %(from_seq)s::bigint - 1, error = NULL
WHERE id = %(id)s AND ended_at IS NULL RETURNING {{replays.columns}}

-- name: discard
-- Deletes a backfill that has nothing to send.
-- Parameters: id (bigint): the replay.
-- Locks: the row.
-- No row: never; the statement gives none.
DELETE FROM event_replay WHERE id = %(id)s
