-- name: patient
-- Lets the statements of this transaction take 30 seconds.
-- Locks: none.
SET LOCAL statement_timeout = '30s'

-- name: now
-- The time now.
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT clock_timestamp() AS now

-- name: unended
-- The restores that have something to do, the oldest first.
-- Rows: their ids.
-- Locks: none.
-- No row: none has.
SELECT id FROM restore_job WHERE state IN ('COLLECTING', 'PLANNING', 'APPLYING', 'UNDOING') ORDER BY id LIMIT 20

-- name: take
-- Locks a restore for a step.
-- Parameters: id (bigint), epoch (bigint or null: of the leader).
-- Rows: `Job`, one.
-- Locks: the row, before all that the step locks.
-- No row: there is no such restore, another process works on it, or the leader was replaced.
SELECT id, selection, state, applies, rescrape, fixes, since, until, walk, position, passes, summary FROM restore_job
WHERE id = %(id)s AND beat_leads(%(epoch)s) FOR NO KEY UPDATE SKIP LOCKED

-- name: advance
-- Notes how far the walk over the logs has got.
-- Parameters: id (bigint), walk (integer), position (timestamptz or null), summary (jsonb).
-- Locks: the row, which this transaction has locked.
-- No row: never.
UPDATE restore_job SET walk = %(walk)s, position = %(position)s, summary = %(summary)s::jsonb WHERE id = %(id)s

-- name: end
-- Ends the state of a restore, which goes on in another one.
-- Parameters: id (bigint), state (text), passes (integer), ended (boolean).
-- Locks: the row, which this transaction has locked.
-- No row: never.
UPDATE restore_job SET state = %(state)s, passes = %(passes)s, walk = 0, position = NULL,
    ended_at = CASE WHEN %(ended)s THEN clock_timestamp() END
WHERE id = %(id)s

-- name: count
-- Notes what a restore has done so far.
-- Parameters: id (bigint), summary (jsonb).
-- Locks: the row, which this transaction has locked.
-- No row: never.
UPDATE restore_job SET summary = %(summary)s::jsonb WHERE id = %(id)s

-- name: next
-- The next entities of a restore in a state, in the order in which rows are locked.
-- Parameters: job, limit (bigint); state (text); entity, key, account, owner (text): the entity after which they begin.
-- Rows: `Item`.
-- Locks: none; the job's row is locked.
-- No row: none is in the state.
SELECT entity, key, account_id, owner FROM restore_item
WHERE job_id = %(job)s AND state = %(state)s AND (entity, key, account_id, owner) > (%(entity)s, %(key)s, %(account)s, %(owner)s)
ORDER BY job_id, state, entity, key, account_id, owner LIMIT %(limit)s

-- name: settle
-- Notes entities at which there is nothing to be done.
-- Parameters: job (bigint); entity, state (text); keys, accounts, owners (text[]), by place.
-- Locks: the rows; the job's row is locked.
-- No row: never.
UPDATE restore_item i SET state = %(state)s, fields = '{}', before = NULL, after = NULL
FROM unnest(%(keys)s::text[], %(accounts)s::text[], %(owners)s::text[]) AS n (key, account_id, owner)
WHERE i.job_id = %(job)s AND i.entity = %(entity)s AND (i.key, i.account_id, i.owner) = (n.key, n.account_id, n.owner)
