-- name: flows
-- Flows that a person paused long ago.
-- Parameters: seconds (integer).
-- Rows: `PausedFlow`.
-- Locks: none.
-- No row: no flow has been paused for so long.
SELECT platform, flow, changed_at AS since FROM flow_setting
WHERE paused AND changed_at < clock_timestamp() - make_interval(secs => %(seconds)s) ORDER BY 1, 2

-- name: distrusted
-- Operations of sources whose data breakers a person opened long ago.
-- Parameters: seconds (integer).
-- Rows: `Distrusted`.
-- Locks: none.
-- No row: no data breaker has been open by hand for so long.
SELECT platform, source, operation, array_agg(parser_version ORDER BY parser_version) AS versions, min(open_since) AS since FROM trust_cohort
WHERE by_hand AND open_since < clock_timestamp() - make_interval(secs => %(seconds)s) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT 200

-- name: sources
-- Sources with operations whose breakers a person opened long ago.
-- Parameters: seconds (integer).
-- Rows: `OpenedSource`.
-- Locks: none.
-- No row: no breaker has been open by hand for so long.
SELECT platform, source, array_agg(operation ORDER BY operation) AS operations, min(since) AS since, min(open_until) AS until
FROM breaker WHERE by_hand AND open_until IS NOT NULL AND since < clock_timestamp() - make_interval(secs => %(seconds)s) GROUP BY 1, 2
