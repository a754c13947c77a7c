-- name: any_due
-- Whether an entry of the quarantine is due. Asked by itself, and nothing more where there is none: it is asked each second, and hardly ever so.
-- No row: never.
SELECT EXISTS (SELECT FROM quarantine WHERE resolved_at IS NULL AND replay_at <= (SELECT clock_timestamp())) AS due

-- name: away
-- Entries that are due and whose payload lies in the bucket alone, and may be read again.
-- Parameters: limit (integer).
-- Rows: `Away`.
-- Locks: none.
-- No row: there are none.
SELECT q.id, q.fetch_id, q.payload_at FROM quarantine q JOIN scrape_fetch f ON f.id = q.fetch_id
WHERE q.resolved_at IS NULL AND q.replay_at <= (SELECT clock_timestamp()) AND f.stage IN ('FAILED', 'WAITING')
  AND EXISTS (SELECT FROM archived_payload p WHERE p.fetch_id = f.id AND p.created_at = q.payload_at)
  AND NOT EXISTS (SELECT FROM raw_payload p WHERE p.fetch_id = f.id AND p.created_at = q.payload_at)
  AND NOT EXISTS (SELECT FROM restored_payload p WHERE p.fetch_id = f.id AND p.created_at = q.payload_at)
ORDER BY q.replay_at LIMIT %(limit)s

-- name: failing
-- Of the replays that have entries due, how many of their last payloads that were read again could be read.
-- Parameters: last (integer): payloads that are looked at.
-- Rows: `Failing`, for each replay.
-- Locks: none.
-- No row: no entry of a replay with a bound is due.
WITH due AS (
    SELECT DISTINCT replay_id, replay_bound FROM (
        SELECT replay_id, replay_bound FROM quarantine WHERE resolved_at IS NULL AND replay_at <= (SELECT clock_timestamp()) ORDER BY replay_at LIMIT 100) d
    WHERE replay_id IS NOT NULL AND replay_bound IS NOT NULL
)
SELECT d.replay_id AS id, d.replay_bound AS bound, count(f.id) FILTER (WHERE f.stage <> 'DONE')::integer AS failed, count(f.id)::integer AS read
FROM due d CROSS JOIN LATERAL (
    SELECT fetch_id FROM quarantine q WHERE q.replay_id = d.replay_id AND q.outcome = 'reparsed' ORDER BY q.resolved_at DESC LIMIT %(last)s) q
LEFT JOIN scrape_fetch f ON f.id = q.fetch_id AND f.stage <> ALL ('{RETRIEVED,INGESTED}')
GROUP BY 1, 2

-- name: stop
-- Leaves the rest of a replay as it was.
-- Parameters: id (bigint: a replay), epoch (bigint or null: of the leader).
-- Rows: how many entries, one.
-- Locks: the entries, in no order; what another holds is skipped.
-- No row: never.
WITH rest AS (
    UPDATE quarantine SET replay_at = NULL, replay_id = NULL, replay_bound = NULL WHERE beat_leads(%(epoch)s) AND id = ANY(ARRAY(
        SELECT id FROM quarantine WHERE replay_id = %(id)s AND resolved_at IS NULL FOR NO KEY UPDATE SKIP LOCKED)) RETURNING 1
)
SELECT count(*)::integer FROM rest

-- name: take
-- Takes entries that are due.
-- Parameters: epoch (bigint or null: of the leader), limit (integer).
-- Locks: the entries by their time; what another holds is skipped. Before the fetches, and before the requests.
-- No row: none is due or free, or the leader was replaced.
SELECT id, fetch_id FROM quarantine
WHERE resolved_at IS NULL AND replay_at <= (SELECT clock_timestamp()) AND beat_leads(%(epoch)s) ORDER BY replay_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED

-- name: lock_fetches
-- Locks all fetches of the requests of some.
-- Parameters: ids (bigint[]: fetches).
-- Locks: the fetches by their ids.
-- No row: they are gone.
SELECT id FROM scrape_fetch WHERE request_id = ANY(ARRAY(SELECT request_id FROM scrape_fetch WHERE id = ANY(%(ids)s))) ORDER BY id FOR NO KEY UPDATE

-- name: lock_requests
-- Locks the requests of fetches.
-- Parameters: ids (bigint[]: fetches).
-- Locks: the requests by their ids.
-- No row: they are gone.
SELECT r.id FROM scrape_request_log r WHERE r.id = ANY(ARRAY(SELECT request_id FROM scrape_fetch WHERE id = ANY(%(ids)s)))
ORDER BY r.id FOR NO KEY UPDATE

-- name: look
-- What is known of each entry, now that nobody moves it. A payload belongs to the page that the fetch was at when it came: with another
-- source's cursor it would be taken for another page.
-- Parameters: ids (bigint[]: entries).
-- Rows: as `Known`.
-- No row: never, of an entry that exists.
SELECT q.id, f.id AS fetch_id, f.request_id, r.status, r.live, f.stage, f.run = r.retry_count AS counts,
       coalesce(r.data->'error'->>'code' = 'expired', false) AS late,
       (f.cursor_source IS NULL OR f.cursor_source = q.source)
         AND (EXISTS (SELECT FROM raw_payload p WHERE p.fetch_id = f.id AND p.created_at = q.payload_at)
              OR EXISTS (SELECT FROM restored_payload p WHERE p.fetch_id = f.id AND p.created_at = q.payload_at)) AS kept,
       (f.cursor_source IS NULL OR f.cursor_source = q.source)
         AND EXISTS (SELECT FROM archived_payload p WHERE p.fetch_id = f.id AND p.created_at = q.payload_at) AS archived
FROM quarantine q LEFT JOIN scrape_fetch f ON f.id = q.fetch_id LEFT JOIN scrape_request_log r ON r.id = f.request_id
WHERE q.id = ANY(%(ids)s) ORDER BY q.id

-- name: reopen
-- Lets the whole run of requests go on: what is done counts as done, and what failed beside that which is read anew is open as well, save what a
-- request completes without. A deadline that has passed is gone for the fetches too, and for what follows them.
-- Status: FAILED -> PROCESSING.
-- Parameters: requests (bigint[]), fetches (bigint[]: those of which the payload is read), soft (text[]: codes of errors that a request
-- completes without).
-- Rows: the fetches that are to be asked for again beside those.
-- Locks: requests and fetches, in no order; `lock_fetches` and `lock_requests` have locked them in this transaction.
-- No row: nothing is to be asked for beside them.
WITH mine AS MATERIALIZED (
    SELECT f.id, f.id = ANY(%(fetches)s) OR (f.stage = 'FAILED' AND (f.is_first OR f.error->>'code' <> ALL(%(soft)s))) AS open
    FROM scrape_fetch f JOIN scrape_request_log r ON r.id = f.request_id AND r.retry_count = f.run WHERE r.id = ANY(%(requests)s)
), again AS (
    UPDATE scrape_request_log r SET status = 'PROCESSING', retry_count = retry_count + 1, live = true, joined_to = NULL,
        open_fetches = (SELECT count(*) FROM mine JOIN scrape_fetch f USING (id) WHERE f.request_id = r.id AND mine.open),
        waiters = 0, scraped_at = NULL, collected_at = NULL, data = data - 'error', work_data = NULL,
        expires_at = CASE WHEN expires_at > clock_timestamp() THEN expires_at END
    WHERE id = ANY(%(requests)s) RETURNING id, flow, retry_count, expires_at
), moved AS (
    UPDATE scrape_fetch f SET run = again.retry_count, expires_at = again.expires_at
    FROM mine, again WHERE f.id = mine.id AND again.id = f.request_id
    RETURNING f.id, f.platform, again.flow, f.operation, f.priority, f.cursor_source, f.owner, mine.open
)
SELECT * FROM moved WHERE open AND id <> ALL(%(fetches)s)

-- name: followers
-- Followers failed with their leaders, and follow them again.
-- Parameters: ids (bigint[]: the leaders), limit (integer).
-- No row: the leaders had no followers.
SELECT id FROM scrape_request_log WHERE joined_to = ANY(%(ids)s) AND status = 'FAILED' ORDER BY id LIMIT %(limit)s

-- name: resolve
-- Notes what came of entries. They are not due again.
-- Parameters: outcome (text), ids (bigint[]: entries).
-- Locks: the entries, in no order; the caller has taken them.
-- No row: they are gone.
UPDATE quarantine SET resolved_at = clock_timestamp(), outcome = %(outcome)s WHERE id = ANY(%(ids)s)

-- name: later
-- Puts entries off, because somebody works on their fetches.
-- Parameters: ids (bigint[]: entries).
-- Locks: the entries, in no order; the caller has taken them.
-- No row: they are gone.
UPDATE quarantine SET replay_at = clock_timestamp() + interval '10 seconds' WHERE id = ANY(%(ids)s)
