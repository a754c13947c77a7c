-- name: record
-- Records what an operator changes.
-- Parameters: actor, action, target (text), detail (jsonb).
-- Locks: the new row alone.
INSERT INTO audit_log (actor, action, target, detail) VALUES (%(actor)s, %(action)s, %(target)s, %(detail)s::jsonb)

-- name: entries
-- What was changed, newest first.
-- Parameters: target, actor (text, NULL: any), limit (integer).
-- Rows: `Entry`.
-- Locks: none.
-- No row: nothing was changed.
SELECT id, at, actor, action, target, detail FROM audit_log
WHERE (%(target)s::text IS NULL OR target = %(target)s) AND (%(actor)s::text IS NULL OR actor = %(actor)s)
ORDER BY id DESC LIMIT %(limit)s
