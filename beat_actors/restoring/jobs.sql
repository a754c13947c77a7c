-- fragment: columns
-- A restore, as `JobRow`.
id, token, selection, state, applies, rescrape, actor, reason, since, until, walk, position, passes, summary, created_at, ended_at

-- name: add
-- Makes a restore, which collects its entities first.
-- Parameters: token, actor, reason (text); selection (jsonb); applies, rescrape (boolean); since, until (timestamptz).
-- Rows: `JobRow`, one.
-- Locks: none.
-- No row: never.
INSERT INTO restore_job (token, selection, applies, rescrape, actor, reason, since, until)
VALUES (%(token)s, %(selection)s::jsonb, %(applies)s, %(rescrape)s, %(actor)s, %(reason)s, %(since)s, %(until)s)
RETURNING {{columns}}

-- name: open
-- How many restores go on.
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT count(*) AS open FROM restore_job WHERE state IN ('COLLECTING', 'PLANNING', 'APPLYING', 'UNDOING')

-- name: list
-- Restores, the newest first.
-- Parameters: limit (bigint).
-- Rows: `JobRow`.
-- Locks: none.
-- No row: there is none.
SELECT {{columns}} FROM restore_job ORDER BY id DESC LIMIT %(limit)s

-- name: get
-- One restore.
-- Parameters: id (bigint).
-- Rows: `JobRow`, one.
-- Locks: none.
-- No row: there is no such restore.
SELECT {{columns}} FROM restore_job WHERE id = %(id)s

-- name: hold
-- One restore, for a change by an operator.
-- Parameters: id (bigint).
-- Rows: `JobRow`, one.
-- Locks: the row, until a step of a worker has ended.
-- No row: there is no such restore.
SELECT {{columns}} FROM restore_job WHERE id = %(id)s FOR NO KEY UPDATE

-- name: move
-- Moves a held restore to another state.
-- Parameters: id (bigint); state (text); applies, ended (boolean).
-- Rows: `JobRow`, one.
-- Locks: the row.
-- No row: there is no such restore.
UPDATE restore_job SET state = %(state)s, applies = %(applies)s, walk = 0, position = NULL, passes = 0,
    summary = CASE WHEN %(state)s = 'UNDOING' THEN summary - 'kept' - 'undone' ELSE summary END,
    ended_at = CASE WHEN %(ended)s THEN clock_timestamp() END
WHERE id = %(id)s RETURNING {{columns}}

-- name: examples
-- Some entities that a restore changes.
-- Parameters: id, limit (bigint).
-- Rows: `Example`.
-- Locks: none.
-- No row: none is known to change.
SELECT entity, key, account_id, owner, fields, before, after, kept FROM restore_item
WHERE job_id = %(id)s AND cardinality(fields) > 0 ORDER BY job_id, entity, key, account_id, owner LIMIT %(limit)s

-- name: items
-- Entities of a restore, in the order of their keys.
-- Parameters: id, limit (bigint); entity, key, account, owner (text): the last one of the page before.
-- Rows: `Item`.
-- Locks: none.
-- No row: there is none behind that one.
SELECT entity, key, account_id, owner, state, fields, kept FROM restore_item
WHERE job_id = %(id)s AND (entity, key, account_id, owner) > (%(entity)s, %(key)s, %(account)s, %(owner)s)
ORDER BY job_id, entity, key, account_id, owner LIMIT %(limit)s

-- name: forget
-- Deletes restores that ended before a number of days, with their items. They cannot be undone any more.
-- Parameters: days (integer), epoch (bigint or null: of the leader).
-- Rows: how many items and restores went, at most 10,000 items.
-- Locks: the rows that go.
-- No row: the leader was replaced.
WITH old AS (
    SELECT id FROM restore_job WHERE state IN ('PLANNED', 'DONE', 'UNDONE', 'CANCELLED')
        AND coalesce(ended_at, created_at) < clock_timestamp() - make_interval(days => %(days)s) ORDER BY id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
), items AS (
    DELETE FROM restore_item WHERE (job_id, entity, key, account_id, owner) IN (
        SELECT i.job_id, i.entity, i.key, i.account_id, i.owner FROM restore_item i JOIN old ON old.id = i.job_id LIMIT 10000)
    RETURNING 1
), jobs AS (
    DELETE FROM restore_job j USING old WHERE j.id = old.id AND (SELECT count(*) FROM items) < 10000 RETURNING 1
)
SELECT ((SELECT count(*) FROM items) + (SELECT count(*) FROM jobs))::integer AS gone WHERE beat_leads(%(epoch)s)
