-- name: session
-- The session of PostgreSQL that answers.
-- Rows: its number.
-- Locks: none.
SELECT pg_backend_pid() AS pid
