-- name: hashed
-- Reads tables through their indexes, and joins by hash, in the statements of this transaction that follow. A part that only a nested loop can do costs
-- so much then that PostgreSQL would compile the statement, which takes longer than to run it.
-- Rows: one, which nobody reads.
-- Locks: none.
-- No row: never.
SELECT set_config('enable_nestloop', 'off', true) || set_config('enable_seqscan', 'off', true) || set_config('jit', 'off', true) AS set

-- name: free
-- Leaves it to the planner again how the statements of this transaction are run.
-- Rows: one, which nobody reads.
-- Locks: none.
-- No row: never.
SELECT set_config('enable_nestloop', 'on', true) || set_config('enable_seqscan', 'on', true) AS set
