-- name: now
-- The database's clock, in epoch seconds. It moves within a transaction.
SELECT extract(epoch FROM clock_timestamp())::double precision AS now
