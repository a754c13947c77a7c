-- name: sealed_with
-- The ids of the vault's keys with which credentials are sealed.
-- Rows: an id each, in order.
-- Locks: none.
-- No row: there are no credentials.
SELECT DISTINCT key_id FROM credential ORDER BY 1
