-- fragment: view
-- A sink, `s`, as `NotificationSinkView` has it.
s.id, s.name, s.kind, s.target, s.recipients, s.sender, s.severity, s.platforms, s.hours, s.days, s.timezone, s.group_by, s.repeat_seconds,
    s.resolved, s.state, s.from_settings, s.failures, CASE WHEN s.open_until > clock_timestamp() THEN s.open_until END AS open_until,
    s.last_success_at, s.last_failure_at, s.last_error,
    (SELECT count(*) FROM notification n WHERE n.sink_id = s.id AND n.state = 'pending')::integer AS pending, s.created_at

-- fragment: message
-- A message, `n`, to the sink `s`, as `NotificationView` has it.
n.id, s.name AS sink, CASE WHEN n.test THEN NULL ELSE n.group_key END AS group_key, n.test, n.state, n.attempt, n.created_at,
    CASE WHEN n.state = 'pending' THEN n.next_at END AS next_at, n.ended_at, n.firing, n.resolved, n.status, n.error

-- name: next_id
-- The id of the sink that is added next. It is drawn before the row is written, because the seal of its secret is bound to it.
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT nextval(pg_get_serial_sequence('notify_sink', 'id')) AS id

-- name: count
-- Lets one transaction at a time count and add sinks.
-- Rows: one: how many there are.
-- Locks: an advisory lock until the transaction ends; it waits for it.
-- No row: never.
SELECT (SELECT count(*) FROM notify_sink) AS sinks FROM pg_advisory_xact_lock(hashtext('beat.notify'))

-- name: create
-- Adds a sink under an id that was drawn before.
-- Parameters: id (bigint), name, kind, target (text), recipients (text[]), sender (text or NULL), key_id (text), secret (bytea, sealed),
-- private, from_settings (boolean), and the route: severity, platforms (text[] or NULL), hours, days (text or NULL), timezone, group_by,
-- repeat (integer, NULL: never), resolved (boolean).
-- Rows: `NotificationSinkView`, one.
-- Locks: the new row alone.
-- No row: the name is taken.
INSERT INTO notify_sink AS s (id, name, kind, target, recipients, sender, key_id, secret, private, from_settings,
    severity, platforms, hours, days, timezone, group_by, repeat_seconds, resolved) OVERRIDING SYSTEM VALUE
VALUES (%(id)s, %(name)s, %(kind)s, %(target)s, %(recipients)s, %(sender)s, %(key_id)s, %(secret)s, %(private)s, %(from_settings)s,
    %(severity)s, %(platforms)s, %(hours)s, %(days)s, %(timezone)s, %(group_by)s, %(repeat)s, %(resolved)s)
ON CONFLICT (name) DO NOTHING RETURNING {{view}}

-- name: define
-- Gives a sink a new address and route. Its breaker closes, and it belongs to BEAT_NOTIFY from then on, or not any more.
-- Parameters: id (bigint), kind, target (text), recipients (text[]), sender (text or NULL), key_id (text), secret (bytea, sealed),
-- private, from_settings (boolean), and the route: severity, platforms (text[] or NULL), hours, days (text or NULL), timezone, group_by (text),
-- repeat (integer, NULL: never), resolved (boolean).
-- Rows: `NotificationSinkView`, one.
-- Locks: the sink.
-- No row: there is no such sink.
UPDATE notify_sink s SET kind = %(kind)s, target = %(target)s, recipients = %(recipients)s, sender = %(sender)s, key_id = %(key_id)s,
    secret = %(secret)s, private = %(private)s, from_settings = %(from_settings)s, severity = %(severity)s, platforms = %(platforms)s,
    hours = %(hours)s, days = %(days)s, timezone = %(timezone)s, group_by = %(group_by)s, repeat_seconds = %(repeat)s,
    resolved = %(resolved)s, failures = 0, open_until = NULL
WHERE id = %(id)s RETURNING {{view}}

-- name: route
-- Changes which alerts a sink gets.
-- Parameters: id (bigint), severity, platforms (text[] or NULL), hours, days (text or NULL), timezone, group_by (text),
-- repeat (integer, NULL: never), resolved (boolean).
-- Rows: `NotificationSinkView`, one.
-- Locks: the sink.
-- No row: there is no such sink.
UPDATE notify_sink s SET severity = %(severity)s, platforms = %(platforms)s, hours = %(hours)s, days = %(days)s, timezone = %(timezone)s,
    group_by = %(group_by)s, repeat_seconds = %(repeat)s, resolved = %(resolved)s
WHERE id = %(id)s RETURNING {{view}}

-- name: list
-- All sinks, by name.
-- Rows: `NotificationSinkView`.
-- Locks: none.
-- No row: there is none.
SELECT {{view}} FROM notify_sink s ORDER BY s.name LIMIT 200

-- name: find
-- One sink.
-- Parameters: name (text).
-- Rows: `NotificationSinkView`.
-- Locks: none.
-- No row: there is no such sink.
SELECT {{view}} FROM notify_sink s WHERE s.name = %(name)s

-- name: lock
-- One sink that is changed next.
-- Parameters: name (text).
-- Rows: its id.
-- Locks: the sink.
-- No row: there is no such sink.
SELECT id FROM notify_sink WHERE name = %(name)s FOR NO KEY UPDATE

-- name: set_state
-- Pauses a sink or resumes it, with a closed breaker.
-- Parameters: id (bigint), state (text).
-- Rows: `NotificationSinkView`, one.
-- Locks: the sink.
-- No row: there is no such sink.
UPDATE notify_sink s SET state = %(state)s, failures = 0, open_until = NULL WHERE s.id = %(id)s RETURNING {{view}}

-- name: drop_pending
-- Drops the messages that wait for a sink.
-- Parameters: id (bigint).
-- Locks: the messages; the sink is locked by `lock`.
-- No row: none waits.
UPDATE notification SET state = 'dropped', ended_at = clock_timestamp(), lease_until = NULL, error = 'the sink was paused'
WHERE sink_id = %(id)s AND state = 'pending'

-- name: delete
-- Deletes a sink, its messages and what it was told.
-- Parameters: id (bigint).
-- Locks: the rows.
-- No row: there is no such sink.
DELETE FROM notify_sink WHERE id = %(id)s

-- name: others_from_settings
-- Sinks that BEAT_NOTIFY defined and does not name any more.
-- Parameters: names (text[]): those that it names.
-- Rows: their names.
-- Locks: none.
-- No row: there is none.
SELECT name FROM notify_sink WHERE from_settings AND NOT (name = ANY(%(names)s)) ORDER BY name

-- name: test
-- Makes a test message for a sink, which is sent whatever its route and its state.
-- Parameters: name (text), seconds (integer) within which it has to be sent.
-- Rows: the id of the message.
-- Locks: the new row.
-- No row: there is no such sink, or a test waits for it already.
INSERT INTO notification (sink_id, group_key, test, expires_at)
SELECT id, '~test', true, clock_timestamp() + make_interval(secs => %(seconds)s) FROM notify_sink WHERE name = %(name)s
ON CONFLICT (sink_id, group_key) WHERE state = 'pending' DO NOTHING RETURNING id

-- name: messages
-- Messages, newest first.
-- Parameters: sink (text, NULL: of any), state (text, NULL: in any), before (bigint, NULL: from the newest on): an id, limit (integer).
-- Rows: `NotificationView`.
-- Locks: none.
-- No row: there is none.
SELECT {{message}} FROM notification n JOIN notify_sink s ON s.id = n.sink_id
WHERE (%(sink)s::text IS NULL OR s.name = %(sink)s) AND (%(state)s::text IS NULL OR n.state = %(state)s)
  AND (%(before)s::bigint IS NULL OR n.id < %(before)s)
ORDER BY n.id DESC LIMIT %(limit)s

-- name: one_message
-- One message.
-- Parameters: id (bigint).
-- Rows: `NotificationView`.
-- Locks: none.
-- No row: there is no such message.
SELECT {{message}} FROM notification n JOIN notify_sink s ON s.id = n.sink_id WHERE n.id = %(id)s

-- name: otherwise_sealed
-- Sinks whose secrets another key sealed.
-- Parameters: key (text): the key's id, limit (integer).
-- Rows: `Sealed`.
-- Locks: the sinks, in the order of their ids.
-- No row: that key has sealed all of them.
SELECT id, key_id, secret FROM notify_sink WHERE key_id <> %(key)s ORDER BY id LIMIT %(limit)s FOR NO KEY UPDATE

-- name: seal_anew
-- Writes a sink's secret as another key sealed it.
-- Parameters: id (bigint), key_id (text), secret (bytea).
-- Locks: the sink, which `otherwise_sealed` has locked.
-- No row: the sink was deleted.
UPDATE notify_sink SET key_id = %(key_id)s, secret = %(secret)s WHERE id = %(id)s
