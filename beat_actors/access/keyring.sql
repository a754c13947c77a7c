-- name: look
-- The keys of these prefixes.
-- Parameters: prefixes (text[]).
-- Rows: `Key`.
-- Locks: none.
-- No row: none of them exists.
SELECT id, prefix, hash, name, account_id, scopes, rate_limit, revoked_at IS NOT NULL AS revoked,
       extract(epoch FROM expires_at - clock_timestamp())::float8 AS seconds_left
FROM api_key WHERE prefix = ANY(%(prefixes)s)

-- name: note
-- Notes that keys were used, each at most every 30 seconds, whatever the number of processes that note it.
-- Parameters: ids (bigint[]).
-- Locks: the keys, in the order of their ids; it waits for none, and leaves locked ones out.
-- No row: all were noted just before.
UPDATE api_key SET last_used = clock_timestamp() WHERE id IN (
    SELECT id FROM api_key WHERE id = ANY(%(ids)s) AND coalesce(last_used < clock_timestamp() - interval '30 seconds', true)
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
