-- name: publish
-- Publishes each level that a limit has passed in its present window, once. A window that slides is taken to be another one when as much time as it
-- lasts has passed since its last level; one of the calendar when it ends at another time.
-- Parameters: arrays of equal length: limits, platforms (text[]), used, calls (bigint[]), resets (timestamptz[], may be null), calendar (boolean[]),
-- seconds (bigint[]): the window; levels (integer[]): percents; epoch (bigint or null: of the leader).
-- Rows: `Passed`, for each event.
-- Locks: the limits' rows, in the order of their names.
-- No row: no limit has passed a level that was not published, or the leader was replaced.
WITH now AS (SELECT clock_timestamp() AS at), seen AS (
    SELECT v.*, CASE WHEN v.calendar THEN v.resets_at END AS until
    FROM unnest(%(limits)s::text[], %(platforms)s::text[], %(used)s::bigint[], %(calls)s::bigint[], %(resets)s::timestamptz[], %(calendar)s::boolean[],
                %(seconds)s::bigint[]) AS v(name, platform, used, calls, resets_at, calendar, seconds)
    WHERE beat_leads(%(epoch)s)
), known AS MATERIALIZED (
    SELECT l.* FROM limit_level l JOIN seen s USING (name) ORDER BY l.name FOR NO KEY UPDATE OF l
), passed AS (
    SELECT s.*, p.percent FROM now, seen s LEFT JOIN known k USING (name) CROSS JOIN unnest(%(levels)s::integer[]) p(percent)
    WHERE s.used * 100 >= s.calls * p.percent AND p.percent > CASE
        WHEN s.calendar AND k.until IS NOT DISTINCT FROM s.until THEN k.percent
        WHEN NOT s.calendar AND k.until IS NULL AND k.at > now.at - make_interval(secs => s.seconds) THEN k.percent ELSE 0 END
), marked AS (
    INSERT INTO limit_level AS l (name, percent, until, at)
    SELECT name, max(percent), until, (SELECT at FROM now) FROM passed GROUP BY name, until ORDER BY name
    ON CONFLICT (name) DO UPDATE SET percent = excluded.percent, until = excluded.until, at = excluded.at
), told AS (
    INSERT INTO event (event_id, type, subject, data)
    SELECT md5(concat_ws(' ', 'limit', name, percent, coalesce(until, (SELECT at FROM now))))::uuid, 'beat.limit.reached', 'limit/' || name,
           jsonb_build_object('limit', name, 'platform', platform, 'account_id', NULL, 'percent', percent, 'used', used, 'calls', calls,
                              'resets_at', resets_at)
    FROM passed ORDER BY name, percent
)
SELECT name, percent FROM passed ORDER BY name, percent
