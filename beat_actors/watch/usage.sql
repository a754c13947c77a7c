-- name: used
-- Daily limits whose use is above the level of an alert, the most used first.
-- Parameters: arrays of equal length: sources, limits (text[]), least (bigint[]): the calls from which on an alert is due; most (integer) rows.
-- Rows: `Used`.
-- Locks: none.
-- No row: none is used so far.
WITH told(source, limit_name, least) AS (SELECT * FROM unnest(%(sources)s::text[], %(limits)s::text[], %(least)s::bigint[])), used AS (
    SELECT subject, limit_name, head, counts, (SELECT sum(n) FROM unnest(counts) n) AS calls FROM credential_usage
    WHERE limit_name IN (SELECT limit_name FROM told)
)
SELECT used.subject, used.limit_name, used.head, used.counts, told.source, extract(epoch FROM clock_timestamp())::double precision AS now
FROM used LEFT JOIN credential c ON c.id = CASE WHEN subject LIKE 'credential:%%' THEN substr(subject, 12)::bigint END
JOIN told ON told.limit_name = used.limit_name AND told.source = coalesce(c.source, substr(subject, 8))
WHERE used.calls >= told.least ORDER BY used.calls / told.least DESC, used.subject, used.limit_name LIMIT %(most)s
