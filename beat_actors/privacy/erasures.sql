-- fragment: view
id, platform, kind, dry_run, actor, reason, created_at, counts, position, waits_for, ended_at, lifted_at

-- name: begin
-- Begins an erasure. What accepts requests and writes observations knows the person's tombstones from the commit on.
-- Parameters: platform, kind, given (text), given_kind (text: id or name), dry_run (boolean), actor, reason (text), identifiers, position (jsonb), ids, names (text[]).
-- Rows: the erasure's id, one.
-- Locks: the new rows; waits for another erasure of the same person to be committed.
-- No row: never.
WITH secret AS (SELECT key FROM tombstone_key), made AS (
    INSERT INTO erasure (platform, kind, subject, dry_run, actor, reason, identifiers, position)
    SELECT %(platform)s, %(kind)s, beat_subject(key, %(platform)s, %(given_kind)s, %(given)s), %(dry_run)s, %(actor)s, %(reason)s, %(identifiers)s::jsonb, %(position)s::jsonb
    FROM secret RETURNING id
), stones AS (
    INSERT INTO tombstone (subject, erasure_id)
    SELECT DISTINCT beat_subject(key, %(platform)s, v.kind, v.value), made.id FROM secret, made, (
        SELECT 'id' AS kind, unnest(%(ids)s::text[]) AS value UNION ALL SELECT 'name', unnest(%(names)s::text[])) v
    WHERE NOT %(dry_run)s ON CONFLICT (subject) DO UPDATE SET erasure_id = excluded.erasure_id
)
SELECT id FROM made

-- name: one
-- An erasure.
-- Parameters: id (bigint).
-- Rows: `Erasure`.
-- Locks: none.
-- No row: there is none.
SELECT {{view}} FROM erasure WHERE id = %(id)s

-- name: newest
-- The newest erasures.
-- Parameters: limit (integer).
-- Rows: `Erasure`.
-- Locks: none.
-- No row: there is none.
SELECT {{view}} FROM erasure ORDER BY id DESC LIMIT %(limit)s

-- name: lift
-- Deletes the tombstones of a person, all that his erasures left.
-- Parameters: platform, id, name (text): what was given, as an id and as a name.
-- Rows: the erasures whose tombstones they were.
-- Locks: the rows.
-- No row: he has none.
WITH hit AS (
    SELECT DISTINCT t.erasure_id AS id FROM tombstone t, tombstone_key k
    WHERE t.subject IN (beat_subject(k.key, %(platform)s, 'id', %(id)s), beat_subject(k.key, %(platform)s, 'name', %(name)s))
), gone AS (
    DELETE FROM tombstone t USING hit WHERE t.erasure_id = hit.id
)
UPDATE erasure e SET lifted_at = clock_timestamp() FROM hit WHERE e.id = hit.id RETURNING e.id

-- name: refused
-- Which of these words name an erased person.
-- Parameters: platforms, words (text[]), pairwise.
-- Rows: the places in the arrays, from 1.
-- Locks: none.
-- No row: none does.
SELECT DISTINCT w.n::integer FROM tombstone_key k, unnest(%(platforms)s::text[], %(words)s::text[]) WITH ORDINALITY AS w(platform, word, n)
JOIN LATERAL (VALUES ('id'), ('name')) AS kind(kind) ON true
WHERE EXISTS (SELECT FROM tombstone) AND EXISTS (SELECT FROM tombstone t WHERE t.subject = beat_subject(k.key, w.platform, kind.kind, w.word))
