-- name: now
-- The database's clock, in epoch seconds. It moves within a transaction.
SELECT extract(epoch FROM clock_timestamp())::double precision AS now

-- name: by_index
-- Has the statements of the transaction read what they order in the order of an index, and no table as a whole, whatever the statistics say. Just after much
-- has come to wait, PostgreSQL still takes what waits for a few rows: it would read and sort all of it for each claim, until the table is analysed again. What
-- is switched off is dear in plans that cannot do without it, and must not have them compiled.
-- Rows: one.
-- No row: never.
SELECT set_config('enable_sort', 'off', true) || set_config('enable_seqscan', 'off', true) || set_config('jit', 'off', true) AS set
