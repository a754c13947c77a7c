-- name: out
-- Sources of whose credentials more than half are out. One pass over the credentials.
-- Rows: `Out`.
-- Locks: none.
-- No row: there is no such source.
SELECT platform, source, count(*) AS of, count(*) FILTER (WHERE gone) AS gone, count(*) FILTER (WHERE dead_at IS NOT NULL) AS dead,
       min(disabled_till) FILTER (WHERE gone AND enabled AND dead_at IS NULL) AS back_at
FROM (SELECT *, NOT enabled OR dead_at IS NOT NULL OR coalesce(disabled_till > clock_timestamp(), false) AS gone FROM credential) c
GROUP BY 1, 2 HAVING count(*) FILTER (WHERE gone) * 2 > count(*)
