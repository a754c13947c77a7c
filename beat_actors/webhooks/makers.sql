-- fragment: maker_lives
-- Whether nothing has ended the key that made the endpoint `e`. An endpoint made on the command line has no such key. `least` passes over
-- NULL: a key that is not revoked and does not expire has no end.
NOT coalesce((SELECT least(k.revoked_at, k.expires_at) <= clock_timestamp() FROM api_key k WHERE k.id = e.api_key_id), false)

-- name: paused_by
-- The active endpoints that a key made.
-- Parameters: key (bigint): its id.
-- Rows: their ids, in order.
-- Locks: none.
-- No row: the key made none that is active.
SELECT id FROM webhook_endpoint WHERE api_key_id = %(key)s AND state = 'active' ORDER BY id

-- name: made_by
-- All endpoints that a key made.
-- Parameters: key (bigint): its id.
-- Rows: their ids, in order.
-- Locks: the endpoints, in the order of their ids.
-- No row: the key made none.
SELECT id FROM webhook_endpoint WHERE api_key_id = %(key)s ORDER BY id FOR NO KEY UPDATE

-- name: hand_over
-- Gives endpoints another maker and new signing secrets. The old secrets sign as well for a while.
-- Parameters: after (bigint): the id of the maker's key from now on, until (timestamptz): when the old secrets stop; arrays of equal length:
-- ids (bigint[]), key_ids (text[]), secrets (bytea[], sealed).
-- Locks: the endpoints, which `made_by` has locked.
-- No row: none of them exists any more.
UPDATE webhook_endpoint e SET api_key_id = %(after)s, old_key_id = e.key_id, old_secret = e.secret, old_until = %(until)s,
    key_id = n.key_id, secret = n.secret
FROM unnest(%(ids)s::bigint[], %(key_ids)s::text[], %(secrets)s::bytea[]) AS n(id, key_id, secret) WHERE e.id = n.id
