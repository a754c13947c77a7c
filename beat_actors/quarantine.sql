-- fragment: place
-- The path of an entry without the places of items in lists, so that the same fault stands at the same place.
regexp_replace(path, '\[[0-9]+\]', '[]', 'g')

-- fragment: fault
-- The class of an error: its text without the path, numbers and quoted values.
left(regexp_replace(regexp_replace(left(error, 300), ' - at `.*', ''), '[0-9]+|''[^'']*''|"[^"]*"', '*', 'g'), 100)

-- fragment: fingerprint
-- Names a cluster. An entry without a shape has the name that it had before there were shapes.
left(md5(ROW(kind, platform, source, operation, parser_version, {{place}}, {{fault}})::text || coalesce(shape, '')), 12)

-- fragment: of_cluster
-- Whether an entry belongs to a cluster. A field that is NULL may be any; an empty path names entries without one. A path is one entry's, or that
-- of a cluster.
(%(source)s::text IS NULL OR source = %(source)s) AND (%(operation)s::text IS NULL OR operation = %(operation)s)
    AND (%(platform)s::text IS NULL OR platform = %(platform)s) AND (%(path)s::text IS NULL OR coalesce(path, '') = %(path)s OR {{place}} = %(path)s)
    AND (%(parser_version)s::integer IS NULL OR parser_version = %(parser_version)s)
    AND (%(fingerprint)s::text IS NULL OR {{fingerprint}} = %(fingerprint)s)

-- name: set_aside
-- Records a message that cannot be used. It counts up to the limit, by an index of its own.
-- Parameters: queue, why (text), detail (jsonb), most (integer): messages that may stand unresolved.
-- Locks: the new row alone. Two at once may exceed the limit by one each.
-- No row: so many messages stand already.
INSERT INTO quarantine (kind, operation, error, detail)
SELECT 'message', %(queue)s, %(why)s, %(detail)s::jsonb
WHERE (SELECT count(*) FROM (
    SELECT FROM quarantine WHERE kind = 'message' AND resolved_at IS NULL LIMIT %(most)s) standing) < %(most)s

-- name: clusters
-- Open entries, grouped into clusters, the most frequent first. A cluster has the same kind, source, operation, parser version, path without the places
-- of items, class of error and shape. `share`: of the calls of this week that are counted (`scores`). Bounded by the index of open entries; a path and an error are taken apart once, and not for each entry that has them.
-- Parameters: limit (integer).
-- Rows: `Cluster`.
-- Locks: none.
-- No row: no entry is open.
WITH alike AS (
    SELECT kind, platform, source, operation, path, parser_version, shape, left(error, 300) AS error, count(*) AS count, min(at) AS first_at,
           max(at) AS last_at, max(id) AS newest, count(replay_at) AS replaying,
           count(*) FILTER (WHERE at >= date_trunc('week', clock_timestamp() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC') AS of_week
    FROM quarantine WHERE resolved_at IS NULL GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
), named AS (
    SELECT *, {{place}} AS place, {{fingerprint}} AS fingerprint FROM alike
)
SELECT fingerprint, kind, platform, source, operation, place AS path, parser_version, shape, sum(count)::bigint AS count, min(first_at) AS first_at,
       max(last_at) AS last_at, max(newest) AS newest, sum(replaying)::bigint AS replaying, (array_agg(error ORDER BY newest DESC))[1] AS error,
       (SELECT least(1, sum(named.of_week)::double precision / nullif(s.calls, 0)) FROM source_score s
        WHERE s.week = date_trunc('week', clock_timestamp() AT TIME ZONE 'UTC')::date AND s.platform = named.platform AND s.source = named.source
          AND s.operation = named.operation) AS share
FROM named GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 ORDER BY sum(count) DESC, max(newest) DESC LIMIT %(limit)s

-- name: one
-- An entry.
-- Parameters: id (bigint).
-- Rows: `Entry`.
-- Locks: none.
-- No row: there is no such entry.
SELECT id, at, kind, platform, source, operation, parser_version, fetch_id, request_id, error, path, shape, detail, replay_at, resolved_at, outcome
FROM quarantine WHERE id = %(id)s

-- name: answered
-- Of which call an entry is.
-- Parameters: id (bigint).
-- Rows: `Answered`.
-- Locks: none.
-- No row: there is no such entry, or it came from no call.
SELECT fetch_id, payload_at FROM quarantine WHERE id = %(id)s AND fetch_id IS NOT NULL AND payload_at IS NOT NULL

-- name: resolve
-- Takes the open entries of a cluster off the list.
-- Parameters: kind (text); platform, source, operation, path, fingerprint (text) and parser_version
-- (integer), NULL: any, an empty path: none; newest (bigint): no entry with a higher id.
-- Locks: the entries.
-- No row: no such entry is open.
UPDATE quarantine SET resolved_at = clock_timestamp(), outcome = 'resolved' WHERE resolved_at IS NULL AND kind = %(kind)s
    AND {{of_cluster}}
    AND id <= %(newest)s

-- name: replay
-- Makes the open entries of a cluster due to be read anew, one after the other, the oldest first: to read them is work, and a hundred thousand
-- at once would be in the way of all other work.
-- Parameters: kind (text); platform, source, operation, path, fingerprint (text) and parser_version
-- (integer), NULL: any, an empty path: none; newest (bigint): no entry with a higher id, rate (double precision): entries a second, stop_at
-- (double precision): the share of them that may still be unreadable before the rest is left (`requests/replay.failing`).
-- Rows: `Replay`, one.
-- Locks: the entries.
-- No row: never.
WITH chosen AS (
    SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM quarantine
    WHERE resolved_at IS NULL AND replay_at IS NULL AND fetch_id IS NOT NULL AND kind = %(kind)s
      AND {{of_cluster}}
      AND id <= %(newest)s
), replay AS MATERIALIZED (
    SELECT nextval('quarantine_replay_id') AS id
), due AS (
    UPDATE quarantine q SET replay_at = clock_timestamp() + make_interval(secs => c.place / %(rate)s::double precision), replay_id = replay.id,
        replay_bound = %(stop_at)s::double precision
    FROM chosen c, replay WHERE q.id = c.id RETURNING q.replay_at
)
SELECT count(*) AS count, max(replay_at) AS last_at FROM due
