-- name: add
-- Adds fetches that follow others, of the same run of a request, as WAITING. What nobody wants any more, the request having ended or been run anew
-- meanwhile, is not added. Deadline and tenant are those of the fetch that it follows; one that asks about a held record has `within` seconds at
-- most. The caller counts what it adds to the requests
-- (`lifecycle.close`), in the same transaction.
-- Parameters: fetches (jsonb: a list of objects with the columns of `n`; `parent` is the fetch that it follows).
-- Locks: none but the new rows.
INSERT INTO scrape_fetch (request_id, run, lane_id, platform, operation, params, cursor, cursor_source, page, is_first, priority, expires_at, owner, tenant, listing, witness_of)
SELECT n.request_id, n.run, n.lane_id, n.platform, n.operation, n.params, n.cursor, n.cursor_source, n.page, false, n.priority,
    CASE WHEN n.witness_of IS NULL THEN p.expires_at ELSE least(p.expires_at, clock_timestamp() + make_interval(secs => n.within)) END,
    n.owner, p.tenant, n.listing, n.witness_of
FROM jsonb_to_recordset(%(fetches)s::jsonb) AS n(
    request_id bigint, run integer, parent bigint, lane_id integer, platform text, operation text, params jsonb, cursor text,
    cursor_source text, page integer, priority smallint, owner text, listing jsonb, witness_of bigint, within double precision)
JOIN scrape_fetch p ON p.id = n.parent
JOIN scrape_request_log r ON r.id = n.request_id AND r.live AND r.retry_count = n.run

-- name: goes_on
-- Of fetches that have failed those whose request goes on, with what it asks for.
-- Parameters: ids (bigint[]).
-- No row: of a fetch, that its request has ended or was run anew.
SELECT f.id, f.request_id, f.run, f.platform, f.operation, f.params, f.priority, l.flow, r.params AS request_params
FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id JOIN scrape_request_log r ON r.id = f.request_id
WHERE f.id = ANY(%(ids)s) AND r.live AND r.retry_count = f.run

-- name: ask_about
-- Lets the first fetches of requests ask about held records.
-- Parameters: requests, records (bigint[], pairwise), within (double precision: seconds that a source has).
-- Locks: the fetches; the transaction has made them.
-- No row: never; the statement gives none.
UPDATE scrape_fetch f SET witness_of = n.record_id, expires_at = clock_timestamp() + make_interval(secs => %(within)s)
FROM unnest(%(requests)s::bigint[], %(records)s::bigint[]) AS n(request_id, record_id) WHERE f.request_id = n.request_id AND f.stage = 'WAITING'
