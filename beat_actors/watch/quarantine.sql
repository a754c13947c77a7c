-- name: told
-- What stands in quarantine, by kind, platform, source and operation, and calls that were refused in numbers. It steps from one set to the next
-- in the index `quarantine_told`, and counts the newest of each, so that entries that nobody resolves make no look dearer. Payloads count for
-- an hour, poison and messages until they are resolved. Fewer than `few` payloads count from a while after the first one on; of implausible records,
-- that many are needed.
-- Parameters: sets (integer) that are looked at, most (integer) entries of each that are counted, few (integer), settled (integer): seconds.
-- Rows: `Told`; `error` of refused calls is their code.
-- Locks: none.
-- No row: there is nothing to tell.
WITH RECURSIVE sets AS (
    (SELECT kind, coalesce(platform, '-') AS platform, coalesce(source, '-') AS source, coalesce(operation, '-') AS operation
     FROM quarantine WHERE resolved_at IS NULL ORDER BY 1, 2, 3, 4 LIMIT 1)
    UNION ALL
    SELECT next.* FROM sets s CROSS JOIN LATERAL (
        SELECT kind, coalesce(platform, '-'), coalesce(source, '-'), coalesce(operation, '-') FROM quarantine
        WHERE resolved_at IS NULL AND (kind, coalesce(platform, '-'), coalesce(source, '-'), coalesce(operation, '-'))
              > (s.kind, s.platform, s.source, s.operation)
        ORDER BY 1, 2, 3, 4 LIMIT 1
    ) next
)
SELECT s.kind, s.platform, s.source, s.operation, newest.of, newest.error
FROM (SELECT *, kind IN ('poison', 'message') AS lasts FROM sets LIMIT %(sets)s) s
CROSS JOIN LATERAL (
    SELECT count(*) AS of, max(error) AS error, min(at) AS since FROM (
        SELECT error, at FROM quarantine q
        WHERE q.resolved_at IS NULL AND q.kind = s.kind AND coalesce(q.platform, '-') = s.platform
          AND coalesce(q.source, '-') = s.source AND coalesce(q.operation, '-') = s.operation
          AND q.at > CASE WHEN s.lasts THEN '-infinity' ELSE (SELECT clock_timestamp() - interval '1 hour') END
        ORDER BY q.at DESC LIMIT %(most)s
    ) one
) newest
WHERE newest.of >= CASE WHEN s.lasts OR s.kind = 'malformed' AND newest.since <= clock_timestamp() - make_interval(secs => %(settled)s)
                        THEN 1 ELSE %(few)s END
UNION ALL
SELECT 'refused', platform, source, operation, calls, code FROM refusal WHERE calls >= 5 AND at > clock_timestamp() - interval '1 hour'
