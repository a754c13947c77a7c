-- name: create
-- Adds a key.
-- Parameters: prefix (text), hash (bytea) of the whole token, name (text), account (text or NULL), scopes (text[]), rate_limit (integer): calls
-- a minute, life (interval, NULL: it does not expire).
-- Rows: `Inserted`, one.
-- Locks: the new row alone.
-- No row: never.
INSERT INTO api_key (prefix, hash, name, account_id, scopes, rate_limit, expires_at)
VALUES (%(prefix)s, %(hash)s, %(name)s, %(account)s, %(scopes)s, %(rate_limit)s, clock_timestamp() + %(life)s) RETURNING id, expires_at

-- name: list
-- All keys.
-- Rows: `KeyView`, by id.
-- Locks: none.
-- No row: there is none.
SELECT id, prefix, name, account_id, scopes, rate_limit, created_at, expires_at, revoked_at, last_used,
       CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= clock_timestamp() THEN 'expired' ELSE 'active' END AS state
FROM api_key ORDER BY id

-- name: find
-- A key that is changed next.
-- Parameters: id (bigint or NULL), prefix (text): either names it.
-- Rows: `Found`.
-- Locks: the key, so that of two who change it at once the second sees what the first did.
-- No row: there is no such key.
SELECT id, prefix, name, account_id, scopes, rate_limit, revoked_at, expires_at - created_at AS life,
       expires_at <= clock_timestamp() AS expired
FROM api_key WHERE id = %(id)s OR prefix = %(prefix)s FOR NO KEY UPDATE

-- name: revoke
-- Ends a key for good.
-- Parameters: id (bigint).
-- Locks: the key, which `find` has locked.
-- No row: there is no such key.
UPDATE api_key SET revoked_at = clock_timestamp() WHERE id = %(id)s

-- name: retire
-- Lets a key work for so long at most. `least` passes over NULL: a key without an end gets one.
-- Parameters: id (bigint), grace (interval).
-- Rows: until when it works.
-- Locks: the key, which `find` has locked.
-- No row: there is no such key.
UPDATE api_key SET expires_at = least(expires_at, clock_timestamp() + %(grace)s) WHERE id = %(id)s RETURNING expires_at
