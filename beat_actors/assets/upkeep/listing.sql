-- fragment: columns
a.id, a.public_id, a.platform, a.entity, a.entity_key, a.field, a.owner, a.account_id, a.class AS asset_class, a.status, a.failure, a.attempts,
a.url, a.expires_at, a.deadline, a.not_before, a.observed_at, a.stored_at, a.changed_at, a.wanted_at, a.refetched_at, a.parent_kind, a.parent_key,
encode(a.content, 'hex') AS content

-- name: page
-- Assets, newest first, among the next `scan` rows of the given statuses in the order of an index. It reads that many rows of each status, and no more.
-- Parameters: statuses (text[]), before (bigint, NULL: the newest), scan, most (integer), platform, account, failure (text, NULL: any), class (smallint, NULL: any).
-- Rows: `Found`, at most `most`, or one without an asset. `looked`: how many rows were looked at; `last`: the last of them.
-- Locks: none.
-- No row: never.
WITH looked AS MATERIALIZED (
    SELECT n.id, n.ctid AS place FROM unnest(%(statuses)s::text[]) s(status) CROSS JOIN LATERAL (
        SELECT a.id, a.ctid FROM asset_log a WHERE a.status = s.status AND (%(before)s::bigint IS NULL OR a.id < %(before)s)
        ORDER BY a.id DESC LIMIT %(scan)s) n
    ORDER BY n.id DESC LIMIT %(scan)s
), page AS (
    SELECT {{columns}} FROM looked l JOIN asset_log a ON a.ctid = l.place
    WHERE (%(platform)s::text IS NULL OR a.platform = %(platform)s) AND (%(account)s::text IS NULL OR a.account_id = %(account)s)
      AND (%(failure)s::text IS NULL OR %(failure)s IN (a.failure, split_part(a.failure, ':', 1))) AND (%(class)s::smallint IS NULL OR a.class = %(class)s)
    ORDER BY l.id DESC LIMIT %(most)s
)
SELECT (SELECT count(*) FROM looked) AS looked, (SELECT min(id) FROM looked) AS last, p.* FROM (SELECT) one LEFT JOIN page p ON true ORDER BY p.id DESC

-- name: one
-- An asset and its object.
-- Parameters: asset (uuid).
-- Rows: `Whole`, one.
-- Locks: none.
-- No row: there is no such asset.
SELECT {{columns}}, o.bytes, o.media_type, o.width, o.height, o.created_at AS object_since, o.checked_at
FROM asset_log a LEFT JOIN asset_object o ON o.content = a.content AND o.deleting_since IS NULL WHERE a.public_id = %(asset)s

-- name: again
-- Puts assets that were given up back to their turn, as if they had never been tried. One that is being uploaded is not touched.
-- Parameters: assets (uuid[]), statuses (text[]): of those that were given up.
-- Rows: the ids of those that were put back.
-- Locks: the assets, in the order of `public_id`, as commits of uploads do.
-- No row: none was given up.
WITH wanted AS (
    SELECT id FROM asset_log WHERE public_id = ANY(%(assets)s::uuid[]) AND status = ANY(%(statuses)s::text[]) ORDER BY public_id FOR NO KEY UPDATE
)
UPDATE asset_log a SET status = 'PENDING', attempts = 0, rescues = 0, failure = NULL, not_before = NULL, refetched_at = NULL, fence = fence + 1,
    lease_until = NULL, changed_at = clock_timestamp()
FROM wanted w WHERE a.public_id = ANY(%(assets)s::uuid[]) AND a.id = w.id RETURNING a.public_id
