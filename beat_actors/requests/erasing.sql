-- name: untag
-- Deletes the hashes of the tags of requests, what their data are refreshed by, and that what they asked for is absent.
-- Parameters: ids (bigint[]: requests).
-- Locks: the rows; the requests are locked by the caller.
-- No row: it gives none.
WITH tags AS (
    DELETE FROM request_tag r USING scrape_request_log q, jsonb_each_text(q.tags) t
    WHERE q.id = ANY(%(ids)s) AND r.account_id = coalesce(q.account_id, '') AND r.tag = md5(t.key || chr(31) || t.value)::uuid AND r.request_id = q.id
), absences AS (
    DELETE FROM absence a USING scrape_request_log q WHERE q.id = ANY(%(ids)s) AND a.key = beat_absence(q.platform, q.flow, q.params, q.account_id)
)
DELETE FROM data_refresh d USING scrape_request_log q WHERE q.id = ANY(%(ids)s) AND d.work = q.work AND d.request_id = q.id

-- name: tag
-- Writes the hashes of the tags that requests have now, and takes what else would tell what was asked for.
-- Parameters: ids (bigint[]: requests).
-- Locks: the requests and the new rows; the requests are locked by the caller.
-- No row: it gives none.
WITH tagged AS (
    INSERT INTO request_tag (account_id, tag, request_id)
    SELECT coalesce(q.account_id, ''), md5(t.key || chr(31) || t.value)::uuid, q.id FROM scrape_request_log q, jsonb_each_text(q.tags) t
    WHERE q.id = ANY(%(ids)s) ON CONFLICT DO NOTHING
)
UPDATE scrape_request_log SET work = NULL, idempotency_digest = NULL WHERE id = ANY(%(ids)s)
