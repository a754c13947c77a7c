-- name: in_trouble
-- Endpoints that nothing is sent to, though nobody asked for that. One whose key has ended is told for a day, as is one that said that it
-- is gone.
-- Rows: `Trouble`, by id; 200 at most.
-- Locks: none.
-- No row: no endpoint is in trouble.
SELECT e.id, e.state, e.failures, split_part(split_part(e.url, '://', 2), '/', 1) AS host, k.id AS key_id, k.revoked_at IS NOT NULL AS revoked
FROM webhook_endpoint e LEFT JOIN api_key k ON k.id = e.api_key_id AND least(k.revoked_at, k.expires_at) <= clock_timestamp()
WHERE CASE e.state
    WHEN 'disabled' THEN e.last_failure_at > clock_timestamp() - interval '1 day'
    WHEN 'active' THEN CASE WHEN k.id IS NULL THEN e.trips > 0
        ELSE least(k.revoked_at, k.expires_at) > clock_timestamp() - interval '1 day' END
    END
ORDER BY e.id LIMIT 200

-- name: not_delivered
-- Since when something waits that a deliverer would take at once.
-- Parameters: within (integer): seconds within which a live process has reported, process (text): the deliverer's name.
-- Rows: the seconds.
-- Locks: none.
-- No row: a deliverer reports, or nothing has waited for longer than a process may take to report.
SELECT extract(epoch FROM clock_timestamp() - since)::integer AS seconds FROM (SELECT least(
    (SELECT min((SELECT d.next_at FROM webhook_delivery d WHERE d.endpoint_id = e.id AND d.state = 'pending' ORDER BY d.next_at, d.id LIMIT 1))
     FROM webhook_endpoint e WHERE {{deliveries.due}}),
    (SELECT least((SELECT at FROM event_log WHERE seq > p.seq ORDER BY seq LIMIT 1),
                  (SELECT at FROM event_pending WHERE id > s.floor ORDER BY id LIMIT 1))
     FROM webhook_position p, event_sequence s WHERE EXISTS (SELECT FROM webhook_endpoint WHERE state = 'active'))) AS since) w
WHERE since < clock_timestamp() - make_interval(secs => %(within)s)
  AND NOT EXISTS (SELECT FROM process WHERE name = %(process)s AND seen_at > clock_timestamp() - make_interval(secs => %(within)s))
