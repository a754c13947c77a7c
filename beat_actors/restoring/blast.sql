-- name: patient
-- Lets the statements of this transaction take a minute: they read all rows of the selected time.
-- Locks: none.
SET LOCAL statement_timeout = '60s'

-- name: hashed
-- Joins by hash in the rest of this transaction, so that events, deliveries and places in the log are each read once. None of them has an index by
-- which it is found, and how many rows a selection has is not known before: a nested loop over 10,000 requests and 60,000 events takes minutes.
-- A part that only a nested loop can do costs so much then that PostgreSQL would compile the statement.
-- Rows: one, which nobody reads.
-- Locks: none.
-- No row: never.
SELECT set_config('enable_nestloop', 'off', true) || set_config('jit', 'off', true) AS set
