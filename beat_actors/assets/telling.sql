-- name: tell
-- Writes the events about assets that were stored or given up in this transaction: one for each asset that has the content, or the status, that it is
-- told of. An event's id is derived from what it says and from the claim of the upload, so that it is written once.
-- The query of a URL is a key to the picture, and a failure may quote its origin: neither is published.
-- Parameters: stored (uuid[]): assets that got a content; lost (uuid[]): assets that were given up; kinds (jsonb): the kind of each table, as
-- `{PLATFORM/TABLE: KIND}`; replaced (jsonb): the contents that assets had before, in hex, as `{UUID: CONTENT}`.
-- Locks: the new events.
-- No row: none of them is as it is told.
WITH told AS (
    SELECT a.*, a.public_id = ANY(%(stored)s::uuid[]) AS is_stored, coalesce(%(kinds)s::jsonb ->> (a.platform || '/' || a.entity), a.entity) AS kind,
        '/assets/' || a.public_id AS location, encode(a.content, 'hex') AS hex
    FROM asset_log a
    WHERE a.public_id = ANY(%(stored)s::uuid[] || %(lost)s::uuid[])
), said AS (
    SELECT t.*, 'beat.asset.stored' AS type, jsonb_build_object('content', hex, 'object_key', concat_ws('/', left(hex, 2), substr(hex, 3, 2), hex),
        'media_type', o.media_type, 'bytes', o.bytes, 'width', o.width, 'height', o.height, 'replaces', %(replaced)s::jsonb ->> t.public_id::text) AS more
    FROM told t JOIN asset_object o ON o.content = t.content WHERE is_stored
    UNION ALL
    SELECT t.*, 'beat.asset.lost', jsonb_build_object('status', status, 'failure', split_part(failure, ':', 1), 'content', hex)
    FROM told t WHERE NOT is_stored AND status IN ('EXPIRED', 'GONE', 'FAILED')
)
INSERT INTO event (event_id, type, subject, account_id, owner, data)
SELECT md5(concat_ws(' ', type, public_id, fence, hex, status, encode(identity, 'hex')))::uuid, type, 'asset/' || public_id, coalesce(account_id, ''), owner,
    jsonb_build_object('id', public_id, 'platform', platform, 'kind', kind, 'key', entity_key, 'field', field, 'account_id', account_id,
        'location', location, 'source_url', regexp_replace(url, '[?#].*', '')) || more
FROM said ORDER BY public_id
