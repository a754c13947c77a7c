-- fragment: locked
-- Behind `moved`: what a fetch brings is published as an event of its request, and the ids of events are drawn under the lock of their subject. A request
-- that is not live has published its end, and nobody publishes anything of it from elsewhere.
locked AS MATERIALIZED (
    SELECT r.id FROM scrape_request_log r WHERE r.id IN (SELECT request_id FROM moved) AND r.live ORDER BY r.id FOR NO KEY UPDATE
)
SELECT id FROM moved WHERE (SELECT count(*) FROM locked) >= 0

-- name: answered
-- Commits calls that were made: the fenced transition, and only for the rows that passed the fence their payload and their trace. A payload,
-- and all that is read from it, is of the time at which its answer came, however long it waits for a stage. What `goes_on` is held for
-- this process as by `claims.retrieved`, of which the rows have the fields.
-- Stages: LEASED -> RETRIEVED, SETTLING.
-- Parameters: calls (jsonb: a list of objects with the columns of `n`), lease (seconds), indexes (integer[]: `i` of the calls that have
-- a payload), bodies (bytea[]) and cursors (text[]), pairwise with indexes.
-- Rows: those that passed; flow, account, parameters and items only of those that go on.
-- Locks: the fetches, in no order; each is held by its claim.
-- No row: of a call, that its lease was taken over. Nothing of it is written.
WITH n AS (
    SELECT * FROM jsonb_to_recordset(%(calls)s::jsonb) AS r(
        i integer, id bigint, fence integer, ok boolean, head boolean, method text, url text, status integer, ms real,
        bytes integer, outcome text, code text, detail text, at double precision, goes_on boolean)
), moved AS (
    UPDATE scrape_fetch f SET stage = CASE WHEN n.ok THEN 'RETRIEVED' ELSE 'SETTLING' END,
        lease_until = CASE WHEN n.goes_on THEN clock_timestamp() + make_interval(secs => %(lease)s) END,
        claimed_at = CASE WHEN n.goes_on THEN clock_timestamp() ELSE f.claimed_at END,
        fence = f.fence + n.goes_on::integer, stage_attempts = n.goes_on::integer, payload_at = CASE WHEN n.ok THEN coalesce(least(to_timestamp(n.at), now()), now()) ELSE f.payload_at END, sent_at = clock_timestamp()
    FROM n WHERE f.id = n.id AND f.fence = n.fence AND f.stage = 'LEASED' AND f.lease_until IS NOT NULL
    RETURNING n.i, n.goes_on, f.*
), payload AS (
    INSERT INTO raw_payload (fetch_id, created_at, attempt, source, body, next_cursor)
    SELECT m.id, m.payload_at, m.attempt, m.source, b.body, b.next_cursor
    FROM moved m JOIN unnest(%(indexes)s::integer[], %(bodies)b::bytea[], %(cursors)s::text[]) AS b(i, body, next_cursor) USING (i)
), trace AS (
    INSERT INTO trace_log (fetch_id, request_id, attempt, platform, source, operation, credential_id, method, url, status, ms,
                           bytes, outcome, code, detail)
    SELECT m.id, m.request_id, m.attempt, m.platform, m.source, m.operation, m.credential_id, n.method, n.url, n.status, n.ms,
           n.bytes, n.outcome, n.code, n.detail
    FROM moved m JOIN n USING (i) WHERE n.head
)
SELECT m.id, m.request_id, m.fence, m.platform, m.operation, m.params, m.cursor, m.page, m.owner, m.listing, m.source,
    m.credential_id, m.probe, m.run, m.priority, m.is_first, m.parser_version, m.stage_attempts, m.witness_of, m.i, m.goes_on, m.payload_at,
    r.flow, r.account_id, r.params AS request_params, r.items
FROM moved m LEFT JOIN scrape_request_log r ON m.goes_on AND r.id = m.request_id

-- name: unused
-- Ends claims of leases for which no call was made. The caller settles them.
-- Stages: LEASED -> SETTLING.
-- Parameters: ids (bigint[]) and fences (integer[]), pairwise.
-- Locks: the fetches, in no order; each is held by its claim.
-- No row: of a claim, that it was taken over.
UPDATE scrape_fetch f SET stage = 'SETTLING', lease_until = NULL FROM unnest(%(ids)s::bigint[], %(fences)s::integer[]) AS n(id, fence)
WHERE f.id = n.id AND f.fence = n.fence AND f.stage = 'LEASED' RETURNING f.id

-- name: read
-- Commits what ingest read: records for the stage process, or the reason why there are none, in quarantine where it has a `kind`. The caller
-- settles the latter.
-- Stages: RETRIEVED -> INGESTED, SETTLING.
-- Parameters: results (jsonb: a list of objects with the columns of `r`), ids (bigint[]) and records (bytea[]), pairwise, of those that have some.
-- Locks: the fetches, in no order; each is held by its claim.
-- No row: of a fetch, that its claim was taken over. Nothing of it is written.
WITH n AS (
    SELECT r.*, p.records FROM jsonb_to_recordset(%(results)s::jsonb) AS r(
        id bigint, fence integer, version integer, kind text, error text, path text, shape text)
    LEFT JOIN unnest(%(ids)s::bigint[], %(records)b::bytea[]) AS p(id, records) USING (id)
), moved AS (
    UPDATE scrape_fetch f SET stage = CASE WHEN n.error IS NULL THEN 'INGESTED' ELSE 'SETTLING' END, records = n.records,
        parser_version = n.version, lease_until = NULL, stage_attempts = 0, sent_at = clock_timestamp()
    FROM n WHERE f.id = n.id AND f.fence = n.fence AND f.stage = 'RETRIEVED'
    RETURNING f.*, n.kind, n.error AS said, n.path, n.shape
), quarantined AS (
    INSERT INTO quarantine (kind, platform, source, operation, parser_version, fetch_id, request_id, payload_at, error, path, shape)
    SELECT kind, platform, source, operation, parser_version, id, request_id, payload_at, said, path, shape FROM moved WHERE kind IS NOT NULL
)
SELECT id FROM moved

-- name: written_at_once
-- Ends fetches whose records are written in the same transaction as they were read: what `read` and `written` are to the stages by themselves.
-- Stages: RETRIEVED -> DONE.
-- Parameters: ids (bigint[]), fences and versions (integer[]), pairwise.
-- Locks: the fetches, in no order; each is held by its claim. Then their requests by their ids. The entities come after both.
-- No row: of a fetch, that its claim was taken over. Nothing of it may be written.
WITH moved AS (
    UPDATE scrape_fetch f SET stage = 'DONE', parser_version = n.version, lease_until = NULL, records = NULL
    FROM unnest(%(ids)s::bigint[], %(fences)s::integer[], %(versions)s::integer[]) AS n(id, fence, version)
    WHERE f.id = n.id AND f.fence = n.fence AND f.stage = 'RETRIEVED' RETURNING f.id, f.request_id
), {{locked}}

-- name: written
-- Ends fetches whose records the stage process writes in this transaction.
-- Stages: INGESTED -> DONE.
-- Parameters: ids (bigint[]) and fences (integer[]), pairwise.
-- Locks: the fetches, in no order; each is held by its claim. Then their requests by their ids. The entities come after both.
-- No row: of a fetch, that its claim was taken over. Nothing of it may be written.
WITH moved AS (
    UPDATE scrape_fetch f SET stage = 'DONE', lease_until = NULL, records = NULL
    FROM unnest(%(ids)s::bigint[], %(fences)s::integer[]) AS n(id, fence)
    WHERE f.id = n.id AND f.fence = n.fence AND f.stage = 'INGESTED' RETURNING f.id, f.request_id
), {{locked}}
