-- name: enroll
-- Makes the row of a sink that is new: it begins at the end of the log, or at its beginning.
-- Parameters: name, scheme (text), whole (boolean): from the beginning of the log, wanted (jsonb): which events, for people.
-- Locks: the sink's row.
-- No row: never; the statement gives none.
INSERT INTO event_sink AS s (name, scheme, seq, wanted)
SELECT %(name)s, %(scheme)s, CASE WHEN %(whole)s THEN 0 ELSE seq END, %(wanted)s FROM event_sequence
ON CONFLICT (name) DO UPDATE SET scheme = excluded.scheme, wanted = excluded.wanted
WHERE (s.scheme, s.wanted) IS DISTINCT FROM (excluded.scheme, excluded.wanted)

-- name: lease
-- Takes the lease of a sink that nobody holds. Who holds it publishes alone; a relay that was taken for dead writes nothing, because the fence has risen.
-- Parameters: name, holder (text), seconds (double precision).
-- Rows: `Leased`, one.
-- Locks: the sink's row, for which it does not wait.
-- No row: another relay holds it.
UPDATE event_sink SET holder = %(holder)s, lease_until = clock_timestamp() + make_interval(secs => %(seconds)s), fence = fence + 1
WHERE name = (SELECT name FROM event_sink WHERE name = %(name)s AND coalesce(lease_until <= clock_timestamp(), true) FOR NO KEY UPDATE SKIP LOCKED)
RETURNING fence, seq, stored

-- name: save
-- Writes how far a sink has got, and prolongs the lease. `since` is when the sink began to stand, whatever the trouble was then: a server that
-- hangs is first one that does not confirm, then one that cannot be reached.
-- Parameters: name (text), fence (bigint), seconds (double precision), seq, stored (bigint), sent, returned, nacked, parked (bigint): more than
-- before, trouble, reason (text or null).
-- Rows: the fence.
-- Locks: the sink's row.
-- No row: the lease is another relay's.
UPDATE event_sink SET lease_until = clock_timestamp() + make_interval(secs => %(seconds)s), seq = %(seq)s, stored = %(stored)s,
    at = CASE WHEN seq = %(seq)s THEN at ELSE coalesce((SELECT l.at FROM event_log l WHERE l.seq = %(seq)s), at) END,
    sent = sent + %(sent)s, returned = returned + %(returned)s, nacked = nacked + %(nacked)s, parked = parked + %(parked)s,
    since = CASE WHEN %(trouble)s::text IS NOT NULL THEN coalesce(since, clock_timestamp()) END,
    trouble = %(trouble)s, reason = %(reason)s
WHERE name = %(name)s AND fence = %(fence)s RETURNING fence

-- name: release
-- Gives the lease back, so that another relay takes over at once.
-- Parameters: name (text), fence (bigint).
-- Locks: the sink's row.
-- No row: never; the statement gives none.
UPDATE event_sink SET holder = NULL, lease_until = clock_timestamp() WHERE name = %(name)s AND fence = %(fence)s

-- fragment: of_event
-- An event `e` at the place `l.seq` and its request `r`, as the first elements of the array that is read as `Stored`.
l.seq, e.event_id, e.type, e.subject, e.version, e.account_id, e.at AT TIME ZONE 'UTC', e.data,
r.id, r.created_at, r.runs, encode(r.trace, 'base64')

-- fragment: request
-- The request that an event `e` is of, `r`, as the trace of the event is derived from it: one look by its id into the few whose caller sent a trace. No
-- row: the event is of no such request, or it is gone.
LEFT JOIN LATERAL (
    SELECT r.id, r.created_at, r.retry_count AS runs, r.trace FROM scrape_request_log r
    WHERE r.id = CASE WHEN starts_with(e.subject, 'scrape_request/') THEN substr(e.subject, 16)::bigint END AND r.trace IS NOT NULL OFFSET 0) r ON true

-- name: read
-- The next places of the log, with the events that the sink wants, in one row: of a row an event the client would spend most of its time on columns.
-- A page is bounded by places, whatever the filter leaves of them.
-- Parameters: after, up_to (bigint): places, limit (bigint), types (text or null): a regular expression of the types, accounts (text[] or null),
-- subject (text or null), backfill (boolean): the places of backfills or those of all others, sink (text or null): the sink whose parked events hold
-- up others of their subject.
-- Rows: `Page`, one, of arrays of `Read` in order. Its `seq` is the last place that was looked at, null where the log has no more.
-- Locks: none.
-- No row: never.
SELECT max(p.seq) AS seq, coalesce(json_agg(p.event) FILTER (WHERE p.event IS NOT NULL), '[]')::text AS events
FROM (
    SELECT l.seq, CASE WHEN e.id IS NOT NULL THEN json_build_array({{of_event}}, CASE WHEN s.holds THEN EXISTS (
               SELECT FROM event_parked p WHERE p.sink = %(sink)s AND p.subject = e.subject) ELSE false END) END AS event
    FROM (SELECT seq, id, at, backfill FROM event_log WHERE seq > %(after)s AND seq <= %(up_to)s ORDER BY seq LIMIT %(limit)s) l
    CROSS JOIN (SELECT EXISTS (SELECT FROM event_parked WHERE sink = %(sink)s) AS holds OFFSET 0) s
    LEFT JOIN event e ON l.backfill = %(backfill)s AND e.id = l.id AND e.at = l.at AND (%(types)s::text IS NULL OR e.type ~ %(types)s)
        AND (%(accounts)s::text[] IS NULL OR e.account_id = ANY(%(accounts)s)) AND (%(subject)s::text IS NULL OR e.subject = %(subject)s)
    {{request}}
    ORDER BY l.seq) p

-- name: park
-- Sets events aside that a sink did not take, and those that wait behind them, so that others go on.
-- Parameters: sink (text), fence (bigint), seqs (bigint[]), troubles, reasons (text[]), behind (boolean[]), seconds (double precision[]): until the
-- next try; null: there is none by itself.
-- Locks: the sink's row; the new rows.
-- No row: never; the statement gives none.
INSERT INTO event_parked (sink, seq, id, at, subject, trouble, reason, behind, next_at)
SELECT %(sink)s, n.seq, l.id, l.at, e.subject, n.trouble, n.reason, n.behind, clock_timestamp() + make_interval(secs => n.seconds)
FROM unnest(%(seqs)s::bigint[], %(troubles)s::text[], %(reasons)s::text[], %(behind)s::boolean[], %(seconds)s::double precision[])
    AS n(seq, trouble, reason, behind, seconds)
JOIN event_log l ON l.seq = n.seq JOIN event e ON e.id = l.id AND e.at = l.at
WHERE EXISTS (SELECT FROM event_sink WHERE name = %(sink)s AND fence = %(fence)s FOR KEY SHARE)
ON CONFLICT (sink, seq) DO NOTHING

-- name: unheld
-- Lets events be tried that were set aside behind another of their subject which has been taken meanwhile. Needs the sink's row (`save`): `unpark` either
-- sees them or is seen by this.
-- Parameters: sink (text), seqs (bigint[]).
-- Locks: the rows.
-- No row: never; the statement gives none.
UPDATE event_parked p SET next_at = clock_timestamp(), behind = false
WHERE p.sink = %(sink)s AND p.seq = ANY(%(seqs)s) AND p.behind AND NOT EXISTS (
    SELECT FROM event_parked b WHERE b.sink = p.sink AND b.subject = p.subject AND b.seq < p.seq)

-- name: due
-- Parked events whose next try is due, of each subject the first. Where later ones do not wait for it, one that is not tried by itself holds up none.
-- Parameters: sink (text), limit (bigint), waits (boolean).
-- Rows: one text, a JSON array of arrays of `Due`, the earliest places first; without one where none is due.
-- Locks: none.
-- No row: never.
SELECT coalesce(json_agg(json_build_array({{of_event}}, l.tries) ORDER BY l.seq), '[]')::text AS events FROM (
    SELECT * FROM event_parked p WHERE p.sink = %(sink)s AND p.next_at <= (SELECT clock_timestamp()) AND NOT EXISTS (
        SELECT FROM event_parked b WHERE b.sink = p.sink AND b.subject = p.subject AND b.seq < p.seq
            AND (%(waits)s OR b.next_at IS NOT NULL))
    ORDER BY p.next_at LIMIT %(limit)s) l
JOIN event e ON e.id = l.id AND e.at = l.at {{request}}

-- name: alone
-- Keeps others from setting events of a sink aside, for the length of a transaction.
-- Parameters: sink (text).
-- Locks: the sink's row.
-- No row: never; the statement gives none.
SELECT FROM event_sink WHERE name = %(sink)s FOR NO KEY UPDATE

-- name: unpark
-- Deletes parked events that were taken, and lets the next one of each subject be tried. Needs the sink's row (`alone`).
-- Parameters: sink (text), seqs (bigint[]).
-- Locks: the rows.
-- No row: never; the statement gives none.
WITH gone AS (
    DELETE FROM event_parked WHERE sink = %(sink)s AND seq = ANY(%(seqs)s) RETURNING subject, seq
)
UPDATE event_parked p SET next_at = clock_timestamp(), behind = false WHERE p.sink = %(sink)s AND p.seq = ANY(ARRAY(
    SELECT min(o.seq) FROM gone g JOIN event_parked o ON o.sink = %(sink)s AND o.subject = g.subject AND o.seq > g.seq GROUP BY g.subject))

-- name: refused_again
-- Puts off the next try of parked events that were refused once more.
-- Parameters: sink (text), seqs (bigint[]), troubles, reasons (text[]), seconds (double precision[]).
-- Locks: the rows.
-- No row: never; the statement gives none.
UPDATE event_parked p SET tries = tries + 1, trouble = n.trouble, reason = n.reason,
    next_at = clock_timestamp() + make_interval(secs => n.seconds)
FROM unnest(%(seqs)s::bigint[], %(troubles)s::text[], %(reasons)s::text[], %(seconds)s::double precision[]) AS n(seq, trouble, reason, seconds)
WHERE p.sink = %(sink)s AND p.seq = n.seq

-- name: replay
-- The oldest replay of a sink that has not ended.
-- Parameters: sink (text).
-- Rows: `Replay`, one.
-- Locks: none.
-- No row: there is none.
SELECT id, to_seq, types, subject, rate, position, backfill FROM event_replay WHERE sink = %(sink)s AND ended_at IS NULL ORDER BY id LIMIT 1

-- name: replayed
-- Writes how far a replay has got.
-- Parameters: id, position, sent (bigint): more than before, ended (boolean), error (text or null).
-- Locks: the replay.
-- No row: it was cancelled; the statement touches none.
UPDATE event_replay SET position = %(position)s, sent = sent + %(sent)s, error = coalesce(%(error)s, error),
    ended_at = CASE WHEN %(ended)s THEN clock_timestamp() END WHERE id = %(id)s AND ended_at IS NULL

-- name: look
-- Whether a sink has parked events whose next try is due, and whether it has a replay that has not ended. Two looks into indexes.
-- Parameters: sink (text).
-- Rows: `Look`, one.
-- Locks: none.
-- No row: never.
SELECT EXISTS (SELECT FROM event_parked WHERE sink = %(sink)s AND next_at <= (SELECT clock_timestamp())) AS due,
       EXISTS (SELECT FROM event_replay WHERE sink = %(sink)s AND ended_at IS NULL) AS replay
