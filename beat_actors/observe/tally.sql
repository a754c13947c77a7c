-- name: look
-- Whether the other statements find anything to do: one statement in the place of ten.
-- Parameters: seconds (integer) since its last report after which a process is said to have ended, name (text) of the sums of the log.
-- Rows: `Look`, one.
-- Locks: none.
-- No row: never.
SELECT EXISTS (SELECT FROM process_left)
       OR EXISTS (SELECT FROM process WHERE metrics IS NOT NULL AND seen_at < clock_timestamp() - make_interval(secs => %(seconds)s)) AS ended,
       EXISTS (SELECT FROM event_pending WHERE id > (SELECT floor FROM event_sequence)) AS pending,
       coalesce((SELECT m.position <> s.seq FROM metric_sum m, event_sequence s WHERE m.name = %(name)s), true) AS news

-- name: ended
-- Takes over the sums of processes that have ended: of those that said so, and of those that have not reported for a while. A process that lives
-- after all learns from `folds` that its sums were taken over, and begins anew.
-- Parameters: seconds (integer) since the last report, most (integer) of each that are taken, epoch (bigint): the leader's, or null.
-- Rows: the sums of a process, as JSON text.
-- Locks: the processes and the rows that they left, except for those that others have locked.
-- No row: no process has ended, or another leads by now.
WITH silent AS (
    SELECT id, metrics FROM process WHERE metrics IS NOT NULL AND seen_at < clock_timestamp() - make_interval(secs => %(seconds)s)
      AND (%(epoch)s::bigint IS NULL OR beat_leads(%(epoch)s)) ORDER BY id LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED
), folded AS (
    UPDATE process p SET metrics = NULL, folds = p.folds + 1 FROM silent WHERE p.id = silent.id
), gone AS (
    DELETE FROM process_left WHERE id = ANY(ARRAY(SELECT id FROM process_left WHERE %(epoch)s::bigint IS NULL OR beat_leads(%(epoch)s)
                                                  ORDER BY id LIMIT %(most)s FOR UPDATE SKIP LOCKED)) RETURNING metrics
)
SELECT metrics::text FROM silent UNION ALL SELECT metrics::text FROM gone

-- name: kept
-- Sums that were kept, and up to which place of the log of events they count.
-- Parameters: name (text).
-- Rows: `Kept`, one at most.
-- Locks: its row.
-- No row: nothing was kept under this name yet.
SELECT position, sums::text AS sums FROM metric_sum WHERE name = %(name)s FOR NO KEY UPDATE

-- name: keep
-- Keeps sums.
-- Parameters: name (text), position (bigint or null), sums (jsonb), epoch (bigint): the leader's, or null.
-- Locks: its row.
-- No row: another leads by now. The statement gives none in any case.
INSERT INTO metric_sum (name, position, sums, at)
SELECT %(name)s, %(position)s, %(sums)s::jsonb, clock_timestamp() WHERE %(epoch)s::bigint IS NULL OR beat_leads(%(epoch)s)
ON CONFLICT (name) DO UPDATE SET position = excluded.position, sums = excluded.sums, at = excluded.at

-- name: happened
-- What the next places of the log say, counted: the events of each type, and of the ends of requests also how long they took. Events that were copied
-- from the time before the log are left out.
-- Parameters: after (bigint): a place, most (integer): places, bounds (double precision[]): upper bounds of the buckets of durations.
-- Rows: `Happened`. `bucket`: 0 is below the first bound. `last`: the last place that was read.
-- Locks: none.
-- No row: the log has no more.
WITH places AS MATERIALIZED (
    SELECT seq, id, at, backfill FROM event_log WHERE seq > %(after)s ORDER BY seq LIMIT %(most)s
), told AS (
    SELECT e.type, starts_with(e.type, 'beat.scrape_request.') AS of_request, e.data,
           CASE WHEN e.type IN ('beat.scrape_request.complete', 'beat.scrape_request.failed')
                THEN greatest(0, extract(epoch FROM (e.data->>'scraped_at')::timestamptz - (e.data->>'created_at')::timestamptz))::float8 END AS seconds
    FROM places l LEFT JOIN event e ON e.id = l.id AND e.at = l.at AND NOT l.backfill
)
SELECT coalesce(type, '') AS type, coalesce(CASE WHEN of_request THEN data->>'platform' END, '') AS platform,
       coalesce(CASE WHEN of_request THEN data->>'flow' END, '') AS flow, coalesce(CASE WHEN of_request THEN data->>'priority' END, '') AS priority,
       CASE WHEN seconds IS NULL THEN -1
            ELSE (SELECT count(*)::integer FROM unnest(%(bounds)s::double precision[]) b WHERE b < seconds) END AS bucket,
       count(*) AS events, coalesce(sum(seconds), 0)::float8 AS seconds, (SELECT max(seq) FROM places) AS last
FROM told GROUP BY 1, 2, 3, 4, 5
