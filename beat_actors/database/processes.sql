-- name: living
-- The processes that have reported lately.
-- Parameters: seconds (how lately).
-- No row: none has.
SELECT name, host, pid, started_at, seen_at, statements, statement_p99, pool_used, pool_most, pool_exhausted, claims, claim_p50, claim_p99,
       troubles, vault_keys, outages, restarts, version, revision, platforms
FROM process WHERE seen_at > clock_timestamp() - make_interval(secs => %(seconds)s) ORDER BY name, host, pid
