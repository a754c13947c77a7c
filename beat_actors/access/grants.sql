-- name: grant
-- Lets an account use an owner.
-- Parameters: account_id, platform, owner (text), actor (text): who grants it.
-- Rows: the account.
-- Locks: the new row; it waits for a transaction that adds the same grant.
-- No row: the account holds the grant already.
INSERT INTO owner_grant (account_id, platform, owner, granted_by) VALUES (%(account_id)s, %(platform)s, %(owner)s, %(actor)s) ON CONFLICT DO NOTHING RETURNING account_id

-- name: revoke
-- Ends a grant.
-- Parameters: account_id, platform, owner (text).
-- Rows: the account.
-- Locks: the grant's row, which goes.
-- No row: the account does not hold the grant.
DELETE FROM owner_grant WHERE account_id = %(account_id)s AND platform = %(platform)s AND owner = %(owner)s RETURNING account_id

-- name: waiting
-- Fetches that wait for a credential of an owner in an account's name, the oldest first; 10,000 at most.
-- Parameters: account_id, platform, owner (text).
-- Rows: their ids.
-- Locks: the fetches, in the order of their ids.
-- No row: none waits.
SELECT f.id FROM lane l JOIN scrape_fetch f ON f.lane_id = l.id AND f.stage = 'WAITING'
JOIN scrape_request_log r ON r.id = f.request_id AND r.account_id = %(account_id)s
WHERE l.platform = %(platform)s AND l.owner = %(owner)s ORDER BY f.id LIMIT 10000 FOR NO KEY UPDATE OF f

-- name: list
-- A page of grants, in the order of the primary key.
-- Parameters: account, platform, owner (text, NULL: any), after_account, after_platform, after_owner (text): behind which it begins, limit
-- (integer).
-- Rows: `GrantView`.
-- Locks: none.
-- No row: there are no more.
SELECT account_id, platform, owner, granted_at, granted_by FROM owner_grant
WHERE (%(account)s::text IS NULL OR account_id = %(account)s) AND (%(platform)s::text IS NULL OR platform = %(platform)s)
  AND (%(owner)s::text IS NULL OR owner = %(owner)s)
  AND (account_id, platform, owner) > (%(after_account)s, %(after_platform)s, %(after_owner)s)
ORDER BY account_id, platform, owner LIMIT %(limit)s

-- name: missing
-- Those uses for which no grant is held. One look-up by the primary key for each.
-- Parameters: arrays of equal length: accounts, platforms, owners (text[]).
-- Rows: `Use`.
-- Locks: none.
-- No row: all grants are held.
SELECT w.account_id, w.platform, w.owner FROM unnest(%(accounts)s::text[], %(platforms)s::text[], %(owners)s::text[]) AS w(account_id, platform, owner)
WHERE NOT EXISTS (SELECT FROM owner_grant g WHERE g.account_id = w.account_id AND g.platform = w.platform AND g.owner = w.owner)
