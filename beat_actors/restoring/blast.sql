-- name: patient
-- Lets the statements of this transaction take a minute: they read all rows of the selected time.
-- Locks: none.
SET LOCAL statement_timeout = '60s'
