-- name: taken
-- What was taken from a limit since it was last reset, by bucket. The window is one bucket longer than the limit says.
-- Parameters: platform (text), seconds (double precision): the limit's window, width (double precision): seconds of a bucket, target (text):
-- the limit, as the audit log names it.
-- Rows: `Bucket`.
-- Locks: none.
-- No row: nothing was taken.
SELECT floor(extract(epoch FROM created_at) / %(width)s)::bigint AS bucket, count(*) AS calls FROM scrape_request_log
WHERE platform = %(platform)s AND on_demand AND created_at > clock_timestamp() - make_interval(secs => %(seconds)s + %(width)s)
  AND created_at > coalesce((SELECT max(at) FROM audit_log WHERE target = %(target)s AND action = 'limit.reset'), '-infinity')
GROUP BY 1
