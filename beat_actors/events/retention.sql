-- name: needed
-- When the earliest event happened that somebody has not got: a sink that is enrolled, a parked event, a replay, or the webhooks. Of each, the first
-- place is looked at; an event may have happened before the one with an earlier place, by no more than a transaction lasts.
-- Rows: the time, one.
-- Locks: none.
-- No row: everybody has everything.
SELECT min(at) AS at FROM (
    SELECT l.at FROM event_sink s CROSS JOIN LATERAL (SELECT at FROM event_log WHERE seq > s.seq ORDER BY seq LIMIT 1) l
    UNION ALL SELECT p.at FROM event_sink s CROSS JOIN LATERAL (SELECT at FROM event_parked WHERE sink = s.name ORDER BY seq LIMIT 1) p
    UNION ALL SELECT coalesce(r.since, l.at) FROM event_replay r CROSS JOIN LATERAL (
        SELECT at FROM event_log WHERE seq > r.position ORDER BY seq LIMIT 1) l WHERE r.ended_at IS NULL
    UNION ALL SELECT p.at FROM event_sequence s CROSS JOIN LATERAL (SELECT at FROM event_pending WHERE id > s.floor ORDER BY id LIMIT 1) p
        WHERE EXISTS (SELECT FROM event_sink)
    UNION ALL SELECT l.at FROM webhook_position p CROSS JOIN LATERAL (SELECT at FROM event_log WHERE seq > p.seq ORDER BY seq LIMIT 1) l
        WHERE EXISTS (SELECT FROM webhook_endpoint WHERE state <> 'disabled')
) needed HAVING min(at) IS NOT NULL

-- name: days
-- For how many whole days events are kept: for so many, and for as many more as the time that is needed lies back, with a day between.
-- Parameters: days (integer), needed (timestamptz or null).
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT greatest(%(days)s::integer, current_date - (%(needed)s::timestamptz AT TIME ZONE 'UTC')::date + 1) AS days

-- name: forget_places
-- Deletes the first places of the log whose events were dropped with their days.
-- Parameters: days (integer), limit (bigint): places that are looked at, epoch (bigint or null: of the leader).
-- Locks: the rows.
-- No row: never; the statement gives none.
DELETE FROM event_log WHERE seq = ANY(ARRAY(
    SELECT seq FROM (SELECT seq, at FROM event_log ORDER BY seq LIMIT %(limit)s) l
    WHERE at < (current_date - %(days)s::integer)::timestamp AT TIME ZONE 'UTC')) AND beat_leads(%(epoch)s)

-- name: forget_minutes
-- Deletes the first places of minutes whose events were dropped with their days.
-- Parameters: days (integer), limit (bigint), epoch (bigint or null: of the leader).
-- Locks: the rows.
-- No row: never; the statement gives none.
DELETE FROM event_minute WHERE minute = ANY(ARRAY(
    SELECT minute FROM event_minute WHERE minute < (current_date - %(days)s::integer)::timestamp AT TIME ZONE 'UTC'
    ORDER BY minute LIMIT %(limit)s)) AND beat_leads(%(epoch)s)

-- name: forget_replays
-- Deletes replays that ended long ago.
-- Parameters: days (integer), limit (bigint), epoch (bigint or null: of the leader).
-- Locks: the rows.
-- No row: never; the statement gives none.
DELETE FROM event_replay WHERE id = ANY(ARRAY(
    SELECT id FROM event_replay WHERE ended_at < clock_timestamp() - make_interval(days => %(days)s) ORDER BY id LIMIT %(limit)s))
    AND beat_leads(%(epoch)s)
