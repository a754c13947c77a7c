-- name: flows
-- Flows that a person paused long ago.
-- Parameters: seconds (integer).
-- Rows: `PausedFlow`.
-- Locks: none.
-- No row: no flow has been paused for so long.
SELECT platform, flow, changed_at AS since FROM flow_setting
WHERE paused AND changed_at < clock_timestamp() - make_interval(secs => %(seconds)s) ORDER BY 1, 2

-- name: sources
-- Sources with operations whose breakers a person opened long ago.
-- Parameters: seconds (integer).
-- Rows: `OpenedSource`.
-- Locks: none.
-- No row: no breaker has been open by hand for so long.
SELECT platform, source, array_agg(operation ORDER BY operation) AS operations, min(since) AS since, min(open_until) AS until
FROM breaker WHERE by_hand AND open_until IS NOT NULL AND since < clock_timestamp() - make_interval(secs => %(seconds)s) GROUP BY 1, 2
