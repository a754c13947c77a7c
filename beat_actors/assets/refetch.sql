-- fragment: parent
(a.platform, a.parent_kind, a.parent_key)

-- name: parents
-- Entities whose assets have dead URLs, from one on: the index is entered once for each entity, however many assets it has.
-- Parameters: platform, kind, key (text): the entity after which the list begins; limit (integer): entities; most (integer): assets of an entity that
-- are looked at.
-- Rows: `Parent`, in their order, one for each owner of the assets. `accounts`: those that may ask, ten at most: the accounts of the assets, then those
-- that hold a grant of the owner. `tables`: of the entities that the assets belong to. `uncovered`: whether an asset was not there when the entity
-- was asked for last.
-- No row: there is none behind that one.
WITH RECURSIVE p AS (
    (SELECT platform, parent_kind, parent_key, 1 AS n FROM asset_log WHERE status = 'REFETCH'
        AND (platform, parent_kind, parent_key) > (%(platform)s::text, %(kind)s::text, %(key)s::text) ORDER BY platform, parent_kind, parent_key LIMIT 1)
    UNION ALL
    SELECT next.platform, next.parent_kind, next.parent_key, p.n + 1 FROM p CROSS JOIN LATERAL (
        SELECT platform, parent_kind, parent_key FROM asset_log WHERE status = 'REFETCH'
            AND (platform, parent_kind, parent_key) > (p.platform, p.parent_kind, p.parent_key) ORDER BY platform, parent_kind, parent_key LIMIT 1) next
    WHERE p.n < %(limit)s
)
SELECT p.platform, p.parent_kind AS kind, p.parent_key AS key, o.owner, o.tables, o.uncovered, ARRAY(
        SELECT account FROM (SELECT unnest(o.accounts) AS account UNION SELECT * FROM (
            SELECT account_id FROM owner_grant g WHERE g.platform = p.platform AND g.owner = o.owner AND o.owner <> '' ORDER BY account_id LIMIT 10) granted) a
        ORDER BY account <> ALL(o.accounts), account LIMIT 10) AS accounts
FROM p CROSS JOIN LATERAL (
    SELECT owner, array_agg(DISTINCT coalesce(account_id, '')) AS accounts, array_agg(DISTINCT entity) AS tables,
        bool_or(refetched_at IS NULL OR refetched_at < clock_timestamp() - interval '24 hours') AS uncovered
    FROM (SELECT account_id, owner, entity, refetched_at FROM asset_log a WHERE status = 'REFETCH'
          AND {{parent}} = (p.platform, p.parent_kind, p.parent_key) ORDER BY id LIMIT %(most)s) a GROUP BY owner) o
ORDER BY p.platform, p.parent_kind, p.parent_key, o.owner

-- name: asked
-- The requests of the last 24 hours under these idempotency keys.
-- Parameters: owner (text): of the keys; keys (text[]).
-- Rows: `Asked`. `code`: of the error that ended the request.
-- No row: nothing was asked.
SELECT idempotency_key AS key, id, status, created_at, data->'error'->>'code' AS code FROM scrape_request_log
WHERE idempotency_owner = %(owner)s AND idempotency_key = ANY(%(keys)s) AND created_at > clock_timestamp() - interval '24 hours'

-- name: leads
-- Whether this scheduler leads.
-- Parameters: epoch (bigint).
-- Rows: one, if it does.
-- No row: another one leads.
SELECT true AS leads WHERE beat_leads(%(epoch)s::bigint)

-- name: cover
-- Notes on assets that their parent is asked for.
-- Parameters: platform, kind, key, owner (text): the parent, and the owner of the assets; most (integer): assets; epoch (bigint).
-- Locks: the assets, in the order of their ids.
-- No row: another scheduler leads, or there is none without the note.
UPDATE asset_log SET refetched_at = clock_timestamp() WHERE public_id = ANY(ARRAY(
    SELECT public_id FROM asset_log a WHERE status = 'REFETCH' AND {{parent}} = (%(platform)s::text, %(kind)s::text, %(key)s::text) AND owner = %(owner)s
        AND (refetched_at IS NULL OR refetched_at < clock_timestamp() - interval '24 hours') AND beat_leads(%(epoch)s::bigint)
    ORDER BY public_id LIMIT %(most)s FOR NO KEY UPDATE)) AND status = 'REFETCH'

-- name: lose
-- Ends the wait of assets whose parent was asked for since they began to wait, and brought no fresh URL. Their last picture stays. The reason
-- follows what ended their URL, and takes the place of an earlier one.
-- Parameters: platform, kind, key, owner (text): the parent, and the owner of the assets; since (timestamptz): when it was asked for, null: it cannot be asked for; gone (boolean):
-- whether there is no such entity any more; why (text); most (integer): assets; epoch (bigint).
-- Rows: `Lost`.
-- Locks: the assets, in the order of their ids.
-- No row: another scheduler leads, or a fresh URL came.
UPDATE asset_log SET status = CASE WHEN %(gone)s OR failure LIKE 'gone:%%' THEN 'GONE' ELSE 'EXPIRED' END,
    failure = left(concat_ws('; ', split_part(failure, '; ', 1), %(why)s::text), 500), wanted_at = NULL
WHERE public_id = ANY(ARRAY(
    SELECT public_id FROM asset_log a WHERE status = 'REFETCH' AND {{parent}} = (%(platform)s::text, %(kind)s::text, %(key)s::text) AND owner = %(owner)s
        AND (%(since)s::timestamptz IS NULL OR refetched_at >= %(since)s::timestamptz) AND beat_leads(%(epoch)s::bigint)
    ORDER BY public_id LIMIT %(most)s FOR NO KEY UPDATE)) AND status = 'REFETCH'
RETURNING public_id, status, failure
