-- fragment: grade
-- The severities, the gravest last.
'{info,warning,critical}'::text[]

-- fragment: concerns
-- Whether the open alert `a` is for the sink `s`. What an operator silenced or another alert explains is sent to nobody, and a sink is not told that
-- it fails.
a.resolved_at IS NULL AND NOT a.silenced AND NOT a.explained AND a.key <> 'notify:' || s.name
AND array_position({{grade}}, a.severity) >= array_position({{grade}}, s.severity)
AND (s.platforms IS NULL OR coalesce(a.platform, %(no_platform)s) = ANY(s.platforms))

-- fragment: group_of
-- The group of the alert `a` at the sink `s`.
CASE s.group_by WHEN 'all' THEN '' ELSE split_part(a.key, ':', 1) || coalesce(':' || a.source, '') END

-- fragment: is_told
-- Whether the sink `s` is told of the end of the alert `a`.
CASE WHEN s.kind = ANY(%(keep_state)s) THEN true ELSE s.resolved AND NOT a.silenced END

-- fragment: is_due
-- Whether the time of the message `n` has come. No message is put off for longer than 15 minutes, so a later time was written before the clock
-- stepped back.
(n.next_at <= clock_timestamp() OR n.next_at > clock_timestamp() + interval '15 minutes')

-- fragment: may_be_sent
-- Whether the sink `s` is not in a pause after a failure.
coalesce(s.open_until <= clock_timestamp() OR s.open_until > clock_timestamp() + interval '15 minutes', true)

-- name: look
-- The active sinks with their hours, and what there is to do: whether any alert is open or was told (`busy`), and whether any message is `due`.
-- Rows: `Look`, one for each active sink.
-- Locks: none.
-- No row: no sink is active, and no test waits.
SELECT s.id, s.hours, s.days, s.timezone, extract(epoch FROM clock_timestamp())::double precision AS now, s.state = 'active' AS active,
       EXISTS (SELECT FROM alert WHERE resolved_at IS NULL) OR EXISTS (SELECT FROM notification_told) AS busy,
       EXISTS (SELECT FROM notification n WHERE n.state = 'pending' AND {{is_due}}) AS due
FROM notify_sink s
WHERE s.state = 'active' OR EXISTS (SELECT FROM notification n WHERE n.sink_id = s.id AND n.state = 'pending')
ORDER BY s.id LIMIT 200

-- name: plan
-- Makes messages for what the sinks were not told: alerts that are new or have become more severe, alerts that ended, and what is still open when
-- it is to be repeated. Of a group no second message is made while one waits, nor within `interval` after one; to a sink go at most `most` messages
-- a minute. What a sink was told and need not be told the end of is forgotten.
-- Parameters: sinks (bigint[]): those whose hours it is, wait (double precision): seconds from the first alert of a group on within which
-- others join it, interval (double precision): seconds, most (integer), expires (double precision): seconds until a message is given up,
-- no_platform (text): stands in `platforms` for alerts without one, keep_state (text[]): kinds that are always told of ends.
-- Rows: one: how many messages were made.
-- Locks: the new rows; it waits for a transaction that makes a message of the same group.
-- No row: never.
WITH standing AS (
    SELECT s.id AS sink_id, s.repeat_seconds, {{group_of}} AS group_key, a.severity, a.opened_at, t.severity AS told, t.told_at
    FROM notify_sink s JOIN alert a ON {{concerns}}
        LEFT JOIN notification_told t ON t.sink_id = s.id AND t.alert_id = a.id
    WHERE s.id = ANY(%(sinks)s)
), over AS (
    SELECT t.sink_id, t.alert_id, t.group_key, {{is_told}} AS is_told
    FROM notification_told t JOIN alert a ON a.id = t.alert_id JOIN notify_sink s ON s.id = t.sink_id
    WHERE a.resolved_at IS NOT NULL AND s.id = ANY(%(sinks)s)
), forgotten AS (
    DELETE FROM notification_told t USING over o WHERE t.sink_id = o.sink_id AND t.alert_id = o.alert_id AND NOT o.is_told
), wanted AS (
    SELECT sink_id, group_key FROM standing GROUP BY sink_id, group_key, repeat_seconds
    HAVING bool_or(coalesce(array_position({{grade}}, severity) > array_position({{grade}}, told), true)
                   AND (opened_at <= clock_timestamp() - make_interval(secs => %(wait)s) OR opened_at > clock_timestamp()))
        OR max(told_at) <= clock_timestamp() - make_interval(secs => repeat_seconds)
    UNION SELECT sink_id, group_key FROM over WHERE is_told
), allowed AS (
    SELECT w.*, row_number() OVER (PARTITION BY w.sink_id ORDER BY w.group_key)
        + (SELECT count(*) FROM notification n WHERE n.sink_id = w.sink_id AND n.created_at BETWEEN clock_timestamp() - interval '1 minute' AND clock_timestamp()) AS nth
    FROM wanted w
    WHERE NOT EXISTS (
        SELECT FROM notification n WHERE n.sink_id = w.sink_id AND n.group_key = w.group_key AND n.state IN ('sent', 'failed')
          AND n.ended_at BETWEEN clock_timestamp() - make_interval(secs => %(interval)s) AND clock_timestamp())
), made AS (
    INSERT INTO notification (sink_id, group_key, created_at, next_at, expires_at)
    SELECT sink_id, group_key, clock_timestamp(), clock_timestamp(), clock_timestamp() + make_interval(secs => %(expires)s) FROM allowed WHERE nth <= %(most)s ORDER BY sink_id, group_key
    ON CONFLICT (sink_id, group_key) WHERE state = 'pending' DO NOTHING RETURNING 1
)
SELECT count(*) AS made FROM made

-- name: claim
-- Claims messages whose time has come. A sink that fails gets one at a time, when its pause has ended; a test goes at once.
-- Parameters: per_sink (integer): messages that are out to a sink at a time, limit (integer), lease (double precision): seconds.
-- Rows: `Claimed`. `attempt` is the claim's fence.
-- Locks: the messages; it waits for none.
-- No row: nothing is due, or other processes have it.
WITH due AS (
    SELECT n.id, n.test, row_number() OVER (PARTITION BY n.sink_id, n.test ORDER BY n.next_at, n.id) AS turn,
           CASE WHEN s.failures > 0 THEN 1 ELSE %(per_sink)s END
           - (SELECT count(*) FROM notification o WHERE o.sink_id = n.sink_id AND o.state = 'pending' AND o.lease_until BETWEEN clock_timestamp() AND clock_timestamp() + make_interval(secs => %(lease)s)) AS room
    FROM notification n JOIN notify_sink s ON s.id = n.sink_id
    WHERE n.state = 'pending' AND {{is_due}} AND (n.test OR s.state = 'active' AND {{may_be_sent}})
), taken AS MATERIALIZED (
    SELECT n.id FROM notification n JOIN due USING (id) WHERE due.test OR due.turn <= due.room
    ORDER BY n.next_at, n.id LIMIT %(limit)s FOR NO KEY UPDATE OF n SKIP LOCKED
)
UPDATE notification n SET attempt = attempt + 1, next_at = clock_timestamp() + make_interval(secs => %(lease)s),
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
FROM taken, notify_sink s WHERE n.id = taken.id AND s.id = n.sink_id AND n.state = 'pending' AND {{is_due}}
RETURNING n.id, n.attempt, n.group_key, n.test, s.id AS sink_id, s.name, s.kind, s.target, s.recipients, s.sender, s.key_id, s.secret, s.private,
    s.failures, s.repeat_seconds, clock_timestamp() AS at

-- name: content
-- What a sink is told of a group now: its open alerts, the most severe first, then those that ended since it was told of them.
-- Parameters: sink (bigint), group_key (text), limit (integer): of each, no_platform (text), keep_state (text[]) as of `plan`.
-- Rows: `Told`.
-- Locks: none.
-- No row: nothing: alerts that had not been sent have ended.
(SELECT a.id, a.key, a.severity, a.cause, a.impact, a.automatic, a.action, a.source, a.platform, a.opened_at, a.over_at, a.resolved_at,
        t.severity AS told, t.told_at
 FROM notify_sink s JOIN alert a ON {{concerns}} LEFT JOIN notification_told t ON t.sink_id = s.id AND t.alert_id = a.id
 WHERE s.id = %(sink)s AND {{group_of}} = %(group_key)s
 ORDER BY array_position({{grade}}, a.severity) DESC, a.opened_at, a.id LIMIT %(limit)s)
UNION ALL
(SELECT a.id, a.key, a.severity, a.cause, a.impact, a.automatic, a.action, a.source, a.platform, a.opened_at, a.over_at, a.resolved_at,
        t.severity AS told, t.told_at
 FROM notification_told t JOIN notify_sink s ON s.id = t.sink_id JOIN alert a ON a.id = t.alert_id
 WHERE s.id = %(sink)s AND t.group_key = %(group_key)s AND a.resolved_at IS NOT NULL AND {{is_told}}
 ORDER BY a.resolved_at DESC, a.id LIMIT %(limit)s)

-- name: affected
-- Open requests and their tenants by platform, of the first so many.
-- Parameters: most (integer).
-- Rows: `Affected`.
-- Locks: none.
-- No row: no request is open.
SELECT platform, count(*)::integer AS requests, count(DISTINCT tenant)::integer AS tenants FROM (
    SELECT platform, beat_tenant(account_id, api_key_id) AS tenant FROM scrape_request_log
    WHERE status IN ('PENDING', 'PROCESSING') LIMIT %(most)s) open GROUP BY platform

-- name: lock
-- Locks the sink whose outcome is written next.
-- Parameters: sink (bigint).
-- Rows: its id.
-- Locks: the sink.
-- No row: it was deleted.
SELECT id FROM notify_sink WHERE id = %(sink)s FOR NO KEY UPDATE

-- name: settle
-- Writes down how a claimed message went, what the sink was told by it, and what follows for the sink. A message that failed is tried again until
-- it expires; a test is not. The fence is `attempt`.
-- Parameters: id (bigint), attempt (integer), outcome (text): sent, failed, dropped, delay (double precision): seconds until the next attempt,
-- status (integer or NULL), error (text or NULL), firing, resolved (integer or NULL), told, severities: the alerts that it named as open
-- (bigint[], text[]), over (bigint[]): those that it named as ended.
-- Rows: the message's id.
-- Locks: the message, what the sink was told; the sink, which `lock` has locked.
-- No row: another process took the message over.
WITH settled AS (
    UPDATE notification SET lease_until = NULL, status = %(status)s, error = %(error)s, firing = %(firing)s, resolved = %(resolved)s,
        state = CASE WHEN %(outcome)s <> 'failed' THEN %(outcome)s
                     WHEN test OR expires_at <= clock_timestamp() + make_interval(secs => %(delay)s) THEN 'failed' ELSE 'pending' END,
        ended_at = CASE WHEN %(outcome)s <> 'failed' OR test OR expires_at <= clock_timestamp() + make_interval(secs => %(delay)s)
                        THEN clock_timestamp() END,
        next_at = clock_timestamp() + make_interval(secs => %(delay)s)
    WHERE id = %(id)s AND attempt = %(attempt)s AND state = 'pending' AND lease_until IS NOT NULL
    RETURNING id, sink_id, group_key
), sink AS (
    UPDATE notify_sink s SET failures = CASE WHEN %(outcome)s = 'sent' THEN 0 ELSE s.failures + 1 END,
        open_until = CASE WHEN %(outcome)s = 'sent' THEN NULL ELSE clock_timestamp() + make_interval(secs => %(delay)s) END,
        last_success_at = CASE WHEN %(outcome)s = 'sent' THEN clock_timestamp() ELSE s.last_success_at END,
        last_failure_at = CASE WHEN %(outcome)s = 'sent' THEN s.last_failure_at ELSE clock_timestamp() END,
        last_error = %(error)s
    FROM settled WHERE s.id = settled.sink_id AND %(outcome)s <> 'dropped'
), told AS (
    INSERT INTO notification_told (sink_id, alert_id, group_key, severity, told_at)
    SELECT settled.sink_id, a.id, settled.group_key, u.severity, clock_timestamp()
    FROM settled, unnest(%(told)s::bigint[], %(severities)s::text[]) AS u(id, severity) JOIN alert a ON a.id = u.id ORDER BY a.id
    ON CONFLICT (sink_id, alert_id) DO UPDATE SET severity = excluded.severity, told_at = excluded.told_at, group_key = excluded.group_key
), over AS (
    DELETE FROM notification_told t USING settled WHERE t.sink_id = settled.sink_id AND t.alert_id = ANY(%(over)s::bigint[])
)
SELECT id FROM settled

-- name: late
-- Ends messages that could not be sent in time: of sinks that failed or were paused, and tests that no process took.
-- Locks: the messages; it waits for none.
-- No row: none is late.
UPDATE notification SET state = 'failed', ended_at = clock_timestamp(), lease_until = NULL, error = coalesce(error, 'not sent in time')
WHERE id IN (SELECT id FROM notification WHERE state = 'pending' AND expires_at <= clock_timestamp()
             AND coalesce(lease_until <= clock_timestamp(), true) ORDER BY id LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED)

-- name: forget
-- Deletes messages that ended long ago.
-- Parameters: days (integer), epoch (bigint): the leader's, NULL: no leader is asked for, limit (integer).
-- Locks: the messages.
-- No row: none is old enough, or another leads by now.
DELETE FROM notification WHERE id = ANY(ARRAY(
    SELECT id FROM notification WHERE state <> 'pending' AND ended_at < (SELECT clock_timestamp() - make_interval(days => %(days)s))
      AND beat_leads(%(epoch)s) ORDER BY ended_at LIMIT %(limit)s))
