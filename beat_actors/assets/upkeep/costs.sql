-- name: spent
-- What uploads took since a day, by account and class, the largest first. It reads one row for each day, account and class.
-- Parameters: days (integer): whole days before today, most (integer): rows.
-- Rows: `Spent`.
-- Locks: none.
-- No row: nothing was uploaded.
SELECT account_id, class AS asset_class, sum(requests)::bigint AS requests, sum(fetched)::bigint AS fetched, sum(puts)::bigint AS puts,
       sum(stored)::bigint AS stored, sum(failed)::bigint AS failed
FROM asset_usage WHERE day >= (clock_timestamp() AT TIME ZONE 'UTC')::date - %(days)s::integer
GROUP BY account_id, class ORDER BY sum(stored) DESC, sum(requests) DESC, account_id, class LIMIT %(most)s
