-- name: unsafe
-- Settings by which a commit may be lost, as a session has them that has set nothing itself.
-- Rows: `Setting`, by name.
-- Locks: none.
-- No row: what is committed is kept.
SELECT name, reset_val AS value FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off' OR name = 'synchronous_commit' AND reset_val IN ('off', 'local') ORDER BY 1
