-- name: known
-- Whether nothing can be missing behind a cursor. A cursor that is ahead of this database, or of what was restored of it, is from what was lost.
-- Parameters: at (timestamptz): when the cursor was given, days (integer) for which changes are kept, xid (xid8): the cursor's transaction.
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT %(at)s::timestamptz > clock_timestamp() - make_interval(days => %(days)s)
   AND %(xid)s::xid8 <= beat_xid_in_era(pg_snapshot_xmax(pg_current_snapshot()))
   AND NOT EXISTS (SELECT FROM database_cluster WHERE %(xid)s::xid8 > last_xid AND %(xid)s::xid8 < era::text::xid8) AS known
