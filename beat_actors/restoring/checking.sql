-- name: patient
-- Lets the statements of this transaction take 30 seconds.
-- Locks: none.
SET LOCAL statement_timeout = '30s'

-- name: due
-- The tables whose round goes on, and those whose last round began a day ago or that had none. Claims nothing: two that walk one table at a time do
-- twice what one does, and find the same.
-- Parameters: tables (text[]).
-- Rows: `Round`.
-- Locks: none.
-- No row: nothing is due.
SELECT n.entity, coalesce(c.key, '') AS key, coalesce(c.account_id, '') AS account_id, coalesce(c.owner, '') AS owner,
    c.entity IS NOT NULL AND c.ended_at IS NULL AS goes_on
FROM unnest(%(tables)s::text[]) WITH ORDINALITY AS n (entity, nth) LEFT JOIN entity_check c USING (entity)
WHERE c.entity IS NULL OR c.ended_at IS NULL OR c.started_at < clock_timestamp() - interval '1 day'
ORDER BY goes_on DESC, n.nth

-- name: begin
-- Begins a round of a table.
-- Parameters: entity (text), epoch (bigint or null: of the leader).
-- Locks: the row.
-- No row: the leader was replaced.
INSERT INTO entity_check (entity) SELECT %(entity)s WHERE beat_leads(%(epoch)s)
ON CONFLICT (entity) DO UPDATE SET key = '', account_id = '', owner = '', started_at = clock_timestamp(), ended_at = NULL, checked = 0, drifted = 0,
    examples = '[]'

-- name: advance
-- Notes a page of a round. Behind the last page, the round has ended.
-- Parameters: entity, key, account, owner (text): the last entity of the page; checked, drifted (integer); examples (jsonb: a list); ended (boolean);
-- epoch (bigint or null: of the leader).
-- Locks: the row.
-- No row: the leader was replaced.
UPDATE entity_check SET key = %(key)s, account_id = %(account)s, owner = %(owner)s, checked = checked + %(checked)s, drifted = drifted + %(drifted)s,
    examples = CASE WHEN jsonb_array_length(examples) < 5 THEN examples || %(examples)s::jsonb ELSE examples END,
    ended_at = CASE WHEN %(ended)s THEN clock_timestamp() END,
    last = CASE WHEN %(ended)s THEN jsonb_build_object('checked', checked + %(checked)s, 'drifted', drifted + %(drifted)s,
        'examples', CASE WHEN jsonb_array_length(examples) < 5 THEN examples || %(examples)s::jsonb ELSE examples END) ELSE last END
WHERE entity = %(entity)s AND beat_leads(%(epoch)s)

-- name: found
-- What the last rounds found, and those that go on.
-- Rows: `Found`.
-- Locks: none.
-- No row: no round has begun yet.
SELECT entity, started_at, ended_at, checked, drifted, examples, last FROM entity_check ORDER BY entity

-- name: add
-- Makes a restore of entities that differ from their log.
-- Parameters: token, actor, reason (text); entities (integer).
-- Rows: its id, one.
-- Locks: none.
-- No row: never.
INSERT INTO restore_job (token, selection, state, applies, rescrape, fixes, actor, reason, since, until, summary)
SELECT %(token)s, jsonb_build_object('since', n.now, 'until', n.now), 'APPLYING', true, false, true, %(actor)s, %(reason)s, n.now, n.now,
    jsonb_build_object('entities', %(entities)s::integer)
FROM (SELECT clock_timestamp() AS now) n RETURNING id

-- name: add_items
-- Adds the entities of such a restore.
-- Parameters: job (bigint); entities, keys, accounts, owners (text[]), by place.
-- Locks: none.
INSERT INTO restore_item (job_id, entity, key, account_id, owner)
SELECT %(job)s, * FROM unnest(%(entities)s::text[], %(keys)s::text[], %(accounts)s::text[], %(owners)s::text[])
