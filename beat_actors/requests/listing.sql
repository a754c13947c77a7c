-- fragment: tagged
-- The newest requests with a tag, in the order of an index: `request_tag_pkey` for one account, `request_tag_of_all` without one.
-- Parameters: tag (uuid), account_id (text), before (bigint), most (rows at most).
SELECT t.request_id FROM request_tag t WHERE {where} ORDER BY t.request_id DESC LIMIT %(most)s

-- fragment: unfinished
-- The newest requests that have not ended, in the order of an index.
-- Parameters: account_id (text), before (bigint), most (rows at most).
SELECT r.id AS request_id FROM scrape_request_log r WHERE {where} ORDER BY r.id DESC LIMIT %(most)s

-- fragment: of_those
-- Joins the requests that were looked at (`tagged` or `unfinished`).
JOIN ({looked}) looked ON looked.request_id = r.id

-- fragment: page
-- Requests that match, newest first.
-- Parameters: those of the filter, before (bigint), rows (how many at most).
-- Rows: `Row`.
-- Locks: none.
-- No row: none matches.
SELECT {{queries.of_request}} FROM scrape_request_log r {of_those} WHERE {where} ORDER BY r.id DESC LIMIT %(rows)s

-- fragment: edge
-- How many requests were looked at, and the oldest of them.
-- Parameters: those of `tagged` or `unfinished`.
-- Rows: `Edge`, one.
-- Locks: none.
SELECT count(*) AS n, min(looked.request_id) AS last FROM ({looked}) looked

-- fragment: counts
-- How many requests match, by status.
-- Parameters: those of the filter.
-- Rows: `InStatus`, one for each status that there is.
-- Locks: none.
SELECT r.status, count(*) AS n FROM scrape_request_log r {of_those} WHERE {where} GROUP BY r.status
