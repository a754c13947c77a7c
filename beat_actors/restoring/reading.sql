-- name: bases
-- The last good states of entities that are kept past the log. One look into the index for each.
-- Parameters: entity (text: its table); keys, accounts, owners (text[]), by place.
-- Rows: `BaseRow`.
-- Locks: none.
-- No row: all that is known of these entities is in the log.
SELECT b.key, b.account_id, b.owner, b.fields::text AS fields, b.known_at, b.source, b.parser_version, b.request_id
FROM unnest(%(keys)s::text[], %(accounts)s::text[], %(owners)s::text[]) AS n (key, account_id, owner)
JOIN entity_base b ON b.entity = %(entity)s AND b.key = n.key AND b.account_id = n.account_id AND b.owner = n.owner
