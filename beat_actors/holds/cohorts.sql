-- fragment: breaker_events
-- An event for each data breaker of `n` that has opened or closed. The caller has locked the cohorts.
INSERT INTO event (event_id, type, subject, data)
SELECT md5(concat_ws(' ', 'data_breaker', n.platform, n.source, n.operation, n.version, n.is_open, extract(epoch FROM now())))::uuid,
       'beat.breaker.' || CASE WHEN n.is_open THEN 'data_opened' ELSE 'data_closed' END,
       concat_ws('/', 'breaker', n.source, n.operation, 'data', n.version),
       jsonb_build_object('platform', n.platform, 'source', n.source, 'operation', n.operation, 'parser_version', n.version,
           'reason', n.why, 'by_hand', n.by_hand)

-- name: make
-- Makes the rows of cohorts that have none.
-- Parameters: platforms, sources, operations (text[]), versions (integer[]), pairwise.
-- Locks: the new rows; waits for a transaction that makes the same ones.
-- No row: never; the statement gives none.
INSERT INTO trust_cohort (platform, source, operation, parser_version, cohort, breaker)
SELECT platform, source, operation, version, '', ''
FROM unnest(%(platforms)s::text[], %(sources)s::text[], %(operations)s::text[], %(versions)s::integer[]) AS n(platform, source, operation, version)
WHERE NOT EXISTS (SELECT FROM trust_cohort t WHERE (t.platform, t.source, t.operation, t.parser_version) = (n.platform, n.source, n.operation, n.version))
ORDER BY 1, 2, 3, 4
ON CONFLICT DO NOTHING

-- name: take
-- Takes cohorts, to count observations of them.
-- Parameters: platforms, sources, operations (text[]), versions (integer[]), pairwise.
-- Rows: `Row`.
-- Locks: the cohorts, in the order of their keys; after held records, and before entities.
-- No row: of a cohort, that it was never made.
SELECT t.platform, t.source, t.operation, t.parser_version, t.cohort, t.breaker
FROM unnest(%(platforms)s::text[], %(sources)s::text[], %(operations)s::text[], %(versions)s::integer[]) AS n(platform, source, operation, version)
JOIN trust_cohort t ON (t.platform, t.source, t.operation, t.parser_version) = (n.platform, n.source, n.operation, n.version)
ORDER BY 1, 2, 3, 4 FOR NO KEY UPDATE OF t

-- name: write
-- Writes cohorts that the transaction has taken, and publishes which data breakers have opened or closed. A breaker that a person opened stays open
-- until a person closes it.
-- Parameters: platforms, sources, operations (text[]), versions (integer[]), cohorts, breakers (bytea[]), open_since (double precision[]: epoch
-- seconds), why, causes (text[]), pairwise.
-- Locks: the cohorts; the caller has taken them.
-- No row: never; the statement gives none.
WITH given AS (
    SELECT * FROM unnest(%(platforms)s::text[], %(sources)s::text[], %(operations)s::text[], %(versions)s::integer[], %(cohorts)b::bytea[],
        %(breakers)b::bytea[], %(open_since)s::double precision[], %(why)s::text[], %(causes)s::text[])
        AS n(platform, source, operation, version, cohort, breaker, open_since, why, cause)
), n AS (
    SELECT g.platform, g.source, g.operation, g.version, g.open_since IS NOT NULL AS is_open, g.why, false AS by_hand FROM given g
    JOIN trust_cohort t ON (t.platform, t.source, t.operation, t.parser_version) = (g.platform, g.source, g.operation, g.version)
    WHERE NOT t.by_hand AND (t.open_since IS NOT NULL) <> (g.open_since IS NOT NULL)
), published AS (
    {{breaker_events}}
    FROM n
)
UPDATE trust_cohort t SET cohort = n.cohort, breaker = n.breaker, cause = n.cause,
    open_since = CASE WHEN t.by_hand THEN t.open_since ELSE to_timestamp(n.open_since) END, why = CASE WHEN t.by_hand THEN t.why ELSE n.why END,
    updated_at = clock_timestamp()
FROM given n WHERE (t.platform, t.source, t.operation, t.parser_version) = (n.platform, n.source, n.operation, n.version)

-- name: know
-- What is known of cohorts, to judge by it. It is read with each batch, and locks nothing.
-- Parameters: platforms, sources, operations (text[]), versions (integer[]), pairwise.
-- Rows: `Row`.
-- Locks: none.
-- No row: of a cohort, that nothing was counted of it.
SELECT t.platform, t.source, t.operation, t.parser_version, t.cohort, t.breaker
FROM unnest(%(platforms)s::text[], %(sources)s::text[], %(operations)s::text[], %(versions)s::integer[]) AS n(platform, source, operation, version)
JOIN trust_cohort t ON (t.platform, t.source, t.operation, t.parser_version) = (n.platform, n.source, n.operation, n.version)

-- name: caused
-- A cohort whose sample has told what it means that so many records are held, and some of these; without any, the cohort goes on as usual.
-- Parameters: most (integer: records), epoch (bigint or null: of the leader).
-- Rows: `Caused`.
-- Locks: none.
-- No row: no sample has told it.
SELECT t.platform, t.source, t.operation, t.parser_version, t.cause, ARRAY(
    SELECT h.id FROM held_record h WHERE (h.platform, h.source, h.operation, h.parser_version) = (t.platform, t.source, t.operation, t.parser_version)
        AND h.decided_at IS NULL ORDER BY h.id LIMIT %(most)s) AS held
FROM trust_cohort t WHERE t.cause IN ('world_moved', 'source_broke') AND beat_leads(%(epoch)s) ORDER BY 1, 2, 3, 4 LIMIT 1
