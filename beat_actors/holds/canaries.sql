-- name: stopped
-- Of these parser versions, those whose data breaker is open. Look-ups by the primary key.
-- Parameters: platforms, sources, operations (text[]), versions (integer[]), pairwise.
-- Rows: `Stopped`.
-- Locks: none.
-- No row: all of them may read.
SELECT t.source, t.operation, t.open_since AS since, t.why, t.by_hand
FROM unnest(%(platforms)s::text[], %(sources)s::text[], %(operations)s::text[], %(versions)s::integer[]) AS n(platform, source, operation, version)
JOIN trust_cohort t ON (t.platform, t.source, t.operation, t.parser_version) = (n.platform, n.source, n.operation, n.version)
WHERE t.open_since IS NOT NULL ORDER BY 1, 2
