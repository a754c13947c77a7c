-- fragment: last
-- Whom an earlier request for the same, `r`, found by the id. `key_param` names the id among its parameters.
SELECT q.data->'moved'->>'{key_param}' AS key FROM absence b JOIN scrape_request_log q ON q.id = b.request_id
WHERE b.key = beat_absence(r.platform, r.flow, r.params, r.account_id)

-- name: in_vain
-- Of fetches those that went on with an id, because nothing was found under a name.
-- Parameters: ids (bigint[]).
-- Rows: their ids.
-- Locks: none.
-- No row: none of them did.
SELECT f.id FROM scrape_fetch f JOIN scrape_request_log r ON r.id = f.request_id AND r.retry_count = f.run
WHERE f.id = ANY(%(ids)s) AND coalesce(r.work_data->'moved', r.data->'moved')->>'operation' = f.operation
