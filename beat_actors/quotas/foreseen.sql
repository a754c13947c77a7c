-- name: keep
-- Keeps the calls of slots. A counter that was reset knows fewer calls than there were, so the larger number stays.
-- Parameters: arrays of equal length, in order: limits (text[]), slots (bigint[]), calls (integer[]); epoch (bigint or null: of the leader).
-- Locks: the rows, in this order.
-- No row: never; the statement gives none.
INSERT INTO limit_usage AS u (name, slot, calls)
SELECT * FROM unnest(%(limits)s::text[], %(slots)s::bigint[], %(calls)s::integer[]) WHERE beat_leads(%(epoch)s)
ON CONFLICT (name, slot) DO UPDATE SET calls = excluded.calls WHERE u.calls < excluded.calls

-- name: note
-- Writes down what was forecast, once for each time.
-- Parameters: arrays of equal length: limits (text[]), made, until (timestamptz[]), probabilities (real[]), at, earliest, latest (timestamptz[], may be null),
-- warned (boolean[]); epoch (bigint or null: of the leader).
-- Locks: the new rows.
-- No row: never; the statement gives none.
INSERT INTO limit_forecast (name, made_at, until, probability, at, earliest, latest, warned)
SELECT * FROM unnest(%(limits)s::text[], %(made)s::timestamptz[], %(until)s::timestamptz[], %(probabilities)s::real[], %(at)s::timestamptz[],
                     %(earliest)s::timestamptz[], %(latest)s::timestamptz[], %(warned)s::boolean[]) WHERE beat_leads(%(epoch)s)
ON CONFLICT DO NOTHING

-- name: noted
-- Of which limits a forecast of this time is written down.
-- Parameters: limits (text[]), made (timestamptz).
-- Rows: their names.
-- Locks: none.
-- No row: of none.
SELECT name FROM limit_forecast WHERE name = ANY(%(limits)s) AND made_at = %(made)s

-- name: used_up
-- Writes down that limits are used up, in the forecasts that are about this time.
-- Parameters: limits (text[]), epoch (bigint or null: of the leader).
-- Locks: the rows; at most one of each hour of a day for each limit.
-- No row: never; the statement gives none.
UPDATE limit_forecast SET used_up_at = clock_timestamp()
WHERE name = ANY(%(limits)s) AND made_at > clock_timestamp() - interval '1 day' AND used_up_at IS NULL AND until > clock_timestamp() AND beat_leads(%(epoch)s)

-- name: forget
-- Deletes what is older than forecasts and their record need.
-- Parameters: slot (bigint): the first that stays, days (integer): of forecasts, epoch (bigint or null: of the leader).
-- Locks: the rows. Each run finds what became too old since the last one.
-- No row: never; the statement gives none.
WITH slots AS (DELETE FROM limit_usage WHERE slot < %(slot)s AND beat_leads(%(epoch)s))
DELETE FROM limit_forecast WHERE made_at < (SELECT clock_timestamp() - make_interval(days => %(days)s)) AND beat_leads(%(epoch)s)

-- name: accuracy
-- What came of the forecasts of the last days, for each limit: those that are over, and those of limits that are used up.
-- Parameters: days (integer), likely (real): the probability from which on a time was told.
-- Rows: `Accuracy`, by limit.
-- Locks: none.
-- No row: there was no forecast.
WITH over AS (
    SELECT *, coalesce(used_up_at BETWEEN earliest - interval '5 minutes' AND coalesce(latest, until) + interval '5 minutes', false) AS held,
           CASE WHEN used_up_at IS NOT NULL AND at IS NOT NULL
                THEN abs(extract(epoch FROM at - used_up_at)) / greatest(60, extract(epoch FROM used_up_at - made_at)) END AS error
    FROM limit_forecast
    WHERE made_at > clock_timestamp() - make_interval(days => %(days)s) AND (used_up_at IS NOT NULL OR until <= clock_timestamp())
), days AS (
    -- Of one day: whether the limit was used up, and whether people were warned in time. A forecast is of the day on which its time ends.
    SELECT name, (until - interval '1 second')::date AS day, bool_or(used_up_at IS NOT NULL) AS used_up, bool_or(warned) AS warned,
           bool_or(warned AND made_at <= used_up_at - interval '30 minutes') AS in_time
    FROM over GROUP BY 1, 2
), by_day AS (
    SELECT name, count(*) FILTER (WHERE used_up)::integer AS used_up, count(*) FILTER (WHERE in_time)::integer AS warned_in_time,
           count(*) FILTER (WHERE NOT used_up)::integer AS lasted, count(*) FILTER (WHERE NOT used_up AND warned)::integer AS false_alarms
    FROM days GROUP BY 1
)
SELECT o.name, count(*)::integer AS forecasts, d.used_up, d.warned_in_time, d.lasted, d.false_alarms,
       count(*) FILTER (WHERE error IS NOT NULL AND probability >= %(likely)s)::integer AS timed,
       (avg(held::integer) FILTER (WHERE error IS NOT NULL AND probability >= %(likely)s))::double precision AS held,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY error) FILTER (WHERE probability >= %(likely)s) AS median_error
FROM over o JOIN by_day d USING (name) GROUP BY o.name, d.used_up, d.warned_in_time, d.lasted, d.false_alarms ORDER BY o.name
