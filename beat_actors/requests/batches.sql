-- fragment: view
b.id, b.account_id, b.api_key_id, b.total, b.created_at, b.closed_at, b.cancelled_at, b.ended_at

-- name: create
-- Creates a batch of so many requests, which the caller inserts in the same transaction.
-- Parameters: account (text or null), key (bigint or null), total (integer), closed (boolean: no more requests are added).
-- Rows: one, its id.
-- Locks: none.
-- No row: never.
INSERT INTO request_batch (account_id, api_key_id, total, closed_at)
VALUES (%(account)s, %(key)s, %(total)s, CASE WHEN %(closed)s THEN clock_timestamp() END) RETURNING id

-- name: used
-- The batch of the request that an idempotency key made. One look-up in the unique index of keys.
-- Parameters: owner, key (text).
-- No row: the key was not used.
SELECT batch_id FROM scrape_request_log WHERE idempotency_owner = %(owner)s AND idempotency_key = %(key)s

-- name: lock
-- Locks a batch that its reader may change.
-- Parameters: id, account (text or null: of this account), own (bigint or null: of this key).
-- Locks: the batch.
-- No row: there is none, or the reader does not see it.
SELECT {{view}} FROM request_batch b
WHERE b.id = %(id)s AND (%(account)s::text IS NULL OR b.account_id = %(account)s) AND (%(own)s::bigint IS NULL OR b.api_key_id = %(own)s)
FOR NO KEY UPDATE

-- name: grow
-- Counts requests that were added, and closes the batch where no more follow.
-- Parameters: id, added (integer), closed (boolean).
-- Locks: the batch, which the caller has locked.
-- No row: never.
UPDATE request_batch SET total = total + %(added)s, added_at = clock_timestamp(),
    closed_at = CASE WHEN %(closed)s THEN clock_timestamp() END
WHERE id = %(id)s

-- name: cancel
-- Marks a batch as cancelled: the sweep cancels what is left of it.
-- Parameters: id, reason (text).
-- Locks: the batch, which the caller has locked.
-- No row: never.
UPDATE request_batch SET cancelled_at = coalesce(cancelled_at, clock_timestamp()), cancel_reason = coalesce(cancel_reason, %(reason)s),
    closed_at = coalesce(closed_at, clock_timestamp())
WHERE id = %(id)s

-- name: find
-- One batch with how many of its requests are in each status: as they were when it ended, or counted now. The count reads one index entry for each
-- request of the batch, so it is bounded by the largest batch, however many requests there are beside it.
-- Parameters: id, account (text or null: of this account), own (bigint or null: of this key).
-- No row: there is none, or the reader does not see it.
SELECT {{view}}, coalesce(b.counts, c.counts) AS counts FROM request_batch b LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(s.status, s.n) AS counts FROM (
        SELECT r.status, count(*) AS n FROM scrape_request_log r WHERE r.batch_id = b.id AND b.counts IS NULL GROUP BY r.status) s) c ON true
WHERE b.id = %(id)s AND (%(account)s::text IS NULL OR b.account_id = %(account)s) AND (%(own)s::bigint IS NULL OR b.api_key_id = %(own)s)

-- name: list
-- A page of batches, newest first, in the order of an index; without counts of those that have not ended.
-- Parameters: account (text or null: of this account), own (bigint or null: of this key), before (bigint: ids below it), limit (integer).
-- No row: there is none.
SELECT {{view}}, b.counts FROM request_batch b
WHERE b.id < %(before)s AND (%(account)s::text IS NULL OR b.account_id = %(account)s) AND (%(own)s::bigint IS NULL OR b.api_key_id = %(own)s)
ORDER BY b.id DESC LIMIT %(limit)s

-- name: ended
-- Which of these batches have ended.
-- Parameters: ids (bigint[]).
-- No row: none of them.
SELECT id FROM request_batch WHERE id = ANY(%(ids)s) AND ended_at IS NOT NULL

-- name: unfinished
-- Requests of one batch that have not ended, the oldest first.
-- Parameters: id, limit (integer).
-- No row: all have ended.
SELECT id FROM scrape_request_log WHERE batch_id = %(id)s AND status IN ('PENDING', 'PROCESSING') ORDER BY id LIMIT %(limit)s

-- name: cancelled
-- A cancelled batch that still has requests that have not ended, with the reason.
-- Parameters: epoch (bigint or null: of the leader).
-- No row: there is none, or the leader was replaced.
SELECT b.id, b.cancel_reason AS reason FROM request_batch b
WHERE b.ended_at IS NULL AND b.cancelled_at IS NOT NULL AND beat_leads(%(epoch)s) AND EXISTS (
    SELECT FROM scrape_request_log r WHERE r.batch_id = b.id AND r.status IN ('PENDING', 'PROCESSING'))
ORDER BY b.id LIMIT 1

-- name: end
-- Closes batches to which nothing was added for a day, and ends those that are closed and of whose requests all have ended: keeps how they ended, and
-- tells one event for each. The event is written by the statement that sets `ended_at`, once, under the lock of the row. A batch that was
-- closed when the statement began takes no more requests, so none can be missed.
-- One step of a walk in the order of the ids. It looks at `looked` batches that have not ended, and asks an index for each whether one of its requests
-- has not ended; what goes on is neither locked nor written. It changes `most` batches, and counts their requests: one index entry each.
-- Parameters: after (bigint: the last id of the step before), looked, most (integer), epoch (bigint or null: of the leader).
-- Rows: one: `last`, from which to go on, `whole`, whether the walk is at its end, and `ended`, how many batches ended.
-- Locks: the batches that change; those that are locked are passed over.
-- No row: never.
WITH looked AS MATERIALIZED (
    SELECT id, closed_at IS NULL AS open, added_at < clock_timestamp() - interval '1 day' AS forgotten FROM request_batch
    WHERE ended_at IS NULL AND id > %(after)s ORDER BY id LIMIT %(looked)s
), found AS MATERIALIZED (
    SELECT l.id FROM looked l WHERE CASE WHEN l.open THEN l.forgotten ELSE NOT EXISTS (
        SELECT FROM scrape_request_log r WHERE r.batch_id = l.id AND r.status IN ('PENDING', 'PROCESSING')) END
    ORDER BY l.id LIMIT %(most)s
), locked AS MATERIALIZED (
    SELECT b.id, b.closed_at IS NOT NULL AS done FROM request_batch b JOIN found USING (id)
    WHERE b.ended_at IS NULL AND beat_leads(%(epoch)s) ORDER BY b.id FOR NO KEY UPDATE OF b SKIP LOCKED
), counted AS MATERIALIZED (
    SELECT l.id, coalesce((SELECT jsonb_object_agg(s.status, s.n) FROM (
        SELECT r.status, count(*) AS n FROM scrape_request_log r WHERE r.batch_id = l.id GROUP BY r.status) s), '{}') AS counts
    FROM locked l WHERE l.done
), changed AS (
    UPDATE request_batch b SET closed_at = coalesce(b.closed_at, clock_timestamp()), counts = c.counts,
        ended_at = CASE WHEN c.id IS NOT NULL THEN clock_timestamp() END
    FROM locked l LEFT JOIN counted c USING (id) WHERE b.id = l.id
    RETURNING {{view}}, b.counts
), published AS (
    INSERT INTO event (event_id, type, subject, account_id, data)
    SELECT md5('batch ' || id)::uuid, 'beat.batch.ended', 'batch/' || id, account_id, jsonb_build_object('id', id, 'location', '/v1/batches/' || id,
        'account_id', account_id, 'total', total, 'counts', counts, 'created_at', created_at, 'cancelled_at', cancelled_at, 'ended_at', ended_at)
    FROM changed WHERE ended_at IS NOT NULL
)
SELECT coalesce(CASE WHEN (SELECT count(*) FROM found) = %(most)s THEN (SELECT max(id) FROM found) ELSE (SELECT max(id) FROM looked) END, 0) AS last,
       (SELECT count(*) FROM looked) < %(looked)s AND (SELECT count(*) FROM found) < %(most)s AS whole,
       (SELECT count(*) FROM changed WHERE ended_at IS NOT NULL) AS ended
