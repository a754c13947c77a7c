-- name: forget
-- Deletes absences that were due for another call long ago and were not asked for since. One batch, by the index of `ask_at`.
-- Parameters: days, batch (integer), epoch (bigint or null: of the leader).
-- Locks: the rows, in no order; what another holds is skipped.
-- No row: there are none.
DELETE FROM absence WHERE beat_leads(%(epoch)s) AND key = ANY(ARRAY(
    SELECT key FROM absence WHERE ask_at < (SELECT clock_timestamp() - make_interval(days => %(days)s)) ORDER BY ask_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED))
