-- name: known
-- Whether nothing can be missing behind a cursor. A cursor that is ahead of the log, or whose event is another one by now, is from a database that was
-- lost.
-- Parameters: at (timestamptz): when the cursor was given, days (integer) for which changes are kept, seq (bigint), written (timestamptz): the
-- cursor's event, and when it happened.
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT %(at)s::timestamptz > clock_timestamp() - make_interval(days => %(days)s)
   AND %(seq)s <= (SELECT seq FROM event_sequence)
   AND NOT EXISTS (SELECT FROM event_log WHERE seq = %(seq)s AND at <> %(written)s) AS known
