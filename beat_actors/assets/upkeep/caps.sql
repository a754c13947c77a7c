-- name: used
-- What the uploads of today have taken of their origins. It reads the rows of one day: one for each account and class that had uploads.
-- Rows: `Used`, one.
-- Locks: none.
-- No row: never.
SELECT coalesce(sum(requests), 0)::bigint AS requests, coalesce(sum(fetched), 0)::bigint AS fetched
FROM asset_usage WHERE day = (clock_timestamp() AT TIME ZONE 'UTC')::date
