-- name: in_trouble
-- Active sinks that failed several times in a row, or that gave a message up within a day.
-- Parameters: failures (integer).
-- Rows: `Trouble`, by name.
-- Locks: none.
-- No row: every sink takes its messages.
SELECT s.name, s.kind, s.target, s.failures, s.last_success_at, s.last_error,
       (SELECT count(*) FROM notification n WHERE n.sink_id = s.id AND n.state = 'pending')::integer AS pending,
       (SELECT count(*) FROM notification n WHERE n.sink_id = s.id AND n.state = 'failed' AND NOT n.test
          AND n.ended_at > clock_timestamp() - interval '1 day')::integer AS given_up,
       NOT EXISTS (SELECT FROM notify_sink o WHERE o.state = 'active' AND o.id <> s.id AND o.failures < %(failures)s) AS only
FROM notify_sink s
WHERE s.state = 'active' AND (s.failures >= %(failures)s OR EXISTS (
    SELECT FROM notification n WHERE n.sink_id = s.id AND n.state = 'failed' AND NOT n.test AND n.ended_at > clock_timestamp() - interval '1 day'
      AND coalesce(n.ended_at > s.last_success_at, true)))
ORDER BY s.name LIMIT 200

-- name: not_sent
-- Since when a message waits that a notifier would send at once.
-- Parameters: within (integer): seconds within which a live process has reported, process (text): the name of the processes that notify,
-- no_platform (text) as of `plan`.
-- Rows: the seconds.
-- Locks: none.
-- No row: such a process reports, or nothing has waited for longer than a process may take to report.
SELECT extract(epoch FROM clock_timestamp() - since)::integer AS seconds FROM (SELECT least(
    (SELECT min(n.next_at) FROM notification n JOIN notify_sink s ON s.id = n.sink_id
     WHERE n.state = 'pending' AND s.state = 'active' AND NOT n.test AND coalesce(s.open_until <= clock_timestamp(), true)),
    (SELECT min(a.opened_at) FROM alert a WHERE a.resolved_at IS NULL AND NOT a.silenced AND NOT a.explained
       AND a.key <> 'notify:deliverer' AND EXISTS (SELECT FROM notify_sink s WHERE s.state = 'active' AND {{queue.concerns}})
       AND NOT EXISTS (SELECT FROM notification_told t WHERE t.alert_id = a.id))) AS since) w
WHERE since < clock_timestamp() - make_interval(secs => %(within)s)
  AND NOT EXISTS (SELECT FROM process WHERE name = %(process)s AND seen_at > clock_timestamp() - make_interval(secs => %(within)s))
