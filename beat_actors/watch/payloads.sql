-- name: left_over
-- Past days of raw payloads that PostgreSQL still has although the bucket should have them, with their sizes, and what the sweep last said. One
-- row of the catalogue for each day that is kept.
-- Parameters: days (integer): whole days before today that PostgreSQL keeps.
-- Rows: `LeftOver`, the oldest first.
-- Locks: none.
-- No row: none is left over.
SELECT day, pg_total_relation_size(c.oid) AS bytes, (SELECT error FROM sweep WHERE name = 'archive') AS said,
       EXISTS (SELECT FROM scrape_fetch WHERE stage = 'RETRIEVED' AND payload_at >= day::timestamp AT TIME ZONE 'UTC'
               AND payload_at < (day + 1)::timestamp AT TIME ZONE 'UTC') AS needed
FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid, to_date(right(c.relname, 8), 'YYYYMMDD') day
WHERE inhparent = 'raw_payload'::regclass AND c.relname ~ '^raw_payload_[0-9]{8}$'
  AND day < (clock_timestamp() AT TIME ZONE 'UTC' - interval '6 hours')::date - %(days)s::integer
ORDER BY day
