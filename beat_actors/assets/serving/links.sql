-- name: pictures
-- The assets of media fields that a reader may see. It reads at most 20 owners' of each field, by the primary key.
-- Parameters: platform, entity (text); keys, accounts (text[]): parallel lists, of each thing the key and the account of its reader; fields (text[]);
-- every_owner (boolean): the readers see all owners' assets.
-- Rows: `Picture`, in no order. `nth`: the place of the thing in `keys`, from 1 on.
-- Locks: none.
-- No row: none of them has an asset.
SELECT n.nth, f.field, a.public_id, a.status, a.url, a.identity, a.expires_at, a.content, a.content_identity
FROM unnest(%(keys)s::text[], %(accounts)s::text[]) WITH ORDINALITY AS n(key, account, nth) CROSS JOIN unnest(%(fields)s::text[]) AS f(field)
CROSS JOIN LATERAL (
    SELECT * FROM asset_log a WHERE a.platform = %(platform)s AND a.entity = %(entity)s AND a.entity_key = n.key AND a.field = f.field
        AND a.public_id IS NOT NULL AND (a.owner = '' OR %(every_owner)s OR EXISTS (
            SELECT FROM owner_grant g WHERE g.account_id = n.account AND g.platform = a.platform AND g.owner = a.owner))
    ORDER BY a.owner LIMIT 20) a
