-- name: forget
-- Forgets rows of a table that ended long ago. One batch of a walk in the order of the ids. {came} is when a row came and {ended} when it
-- ended, NULL of what has not: that is passed over. The condition is asked again of a row that is locked, since a request may have been
-- retried meanwhile. A request goes with its fetches.
-- Parameters: after (bigint: the last id of the batch before), batch (integer), days (integer), epoch (bigint or null: of the leader).
-- Rows: one, as `Batch`.
-- Locks: the rows that go, and the fetches of requests, in no order.
-- No row: never.
WITH age AS (
    SELECT clock_timestamp() - make_interval(days => %(days)s) AS ended
), batch AS (
    SELECT id, {came} < (SELECT ended FROM age) AS old FROM {table} WHERE id > %(after)s ORDER BY id LIMIT %(batch)s
), gone AS (
    DELETE FROM {table} WHERE id = ANY(ARRAY(SELECT id FROM batch WHERE old)) AND {ended} < (SELECT ended FROM age)
      AND beat_leads(%(epoch)s) RETURNING id
)
SELECT max(id) AS last, count(*) AS read, coalesce((array_agg(old ORDER BY id DESC))[1], false) AS old,
       (SELECT count(*) FROM gone) AS gone FROM batch
