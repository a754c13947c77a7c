-- fragment: by
make_interval(secs => %(seconds)s)

-- name: calls
-- Calls for credentials' own sake that are out: their leases last once more. A small table.
-- Parameters: call_lease (seconds), epoch (bigint or null: of the leader).
-- Locks: the calls, in no order.
-- No row: none lies ahead, or the leader was replaced.
UPDATE credential_call SET lease_until = clock_timestamp() + make_interval(secs => %(call_lease)s)
WHERE lease_until > clock_timestamp() + make_interval(secs => %(call_lease)s) AND beat_leads(%(epoch)s)

-- name: processes
-- Reports of processes: their time is now. A small table.
-- Parameters: epoch (bigint or null: of the leader).
-- Locks: the processes, in no order.
-- No row: none lies ahead, or the leader was replaced.
UPDATE process SET seen_at = clock_timestamp() WHERE seen_at > clock_timestamp() + interval '1 second' AND beat_leads(%(epoch)s)

-- name: endpoints_created
-- Endpoints that were made before the step: what happens to one from now on is told, and not only what happens after the clock has caught
-- up. A small table.
-- Parameters: epoch (bigint or null: of the leader).
-- Locks: the endpoints, in no order.
-- No row: none lies ahead, or the leader was replaced.
UPDATE webhook_endpoint SET created_at = clock_timestamp() WHERE created_at > clock_timestamp() + interval '1 second' AND beat_leads(%(epoch)s)

-- name: deliveries_out
-- Deliveries that are out: their leases last once more. A small table.
-- Parameters: delivery_lease (seconds), epoch (bigint or null: of the leader).
-- Locks: the deliveries, in no order.
-- No row: none lies ahead, or the leader was replaced.
UPDATE webhook_delivery SET lease_until = clock_timestamp() + make_interval(secs => %(delivery_lease)s),
    next_at = clock_timestamp() + make_interval(secs => %(delivery_lease)s)
WHERE lease_until > clock_timestamp() + make_interval(secs => %(delivery_lease)s + 1) AND beat_leads(%(epoch)s)

-- name: lanes
-- Lanes that wait for a time: the next turn looks at them anew. A small table.
-- Parameters: epoch (bigint or null: of the leader).
-- Locks: the lanes, in no order.
-- No row: none lies ahead, or the leader was replaced.
UPDATE lane SET blocked_until = clock_timestamp() WHERE reasons IS NOT NULL AND blocked_until > clock_timestamp() AND beat_leads(%(epoch)s)

-- name: credentials
-- Cooldowns, checks and refreshes of a platform's credentials: each lasts as long as it was to last. Those that were written when the step may have
-- happened are left alone. One pass over the platform's credentials.
-- Parameters: platform (text), seconds (by which the clock went back), found (epoch seconds: when that was found), unsure (seconds before
-- that within which it may have happened), epoch (bigint or null: of the leader).
-- Locks: the credentials, in no order, under the platform's lock, which turns hold.
-- No row: none lies ahead, or the leader was replaced.
UPDATE credential SET
    disabled_till = disabled_till - {{by}}, ladder_at = ladder_at - {{by}}, reported_reset_at = reported_reset_at - {{by}},
    full_until = NULL, check_at = check_at - {{by}}, refresh_at = refresh_at - {{by}},
    expires_at = CASE WHEN refreshes THEN expires_at - {{by}} ELSE expires_at END,
    denials = '{}', denied_until = NULL, updated_at = clock_timestamp()
WHERE platform = %(platform)s AND beat_leads(%(epoch)s)
  AND (updated_at > clock_timestamp() OR updated_at < to_timestamp(%(found)s::double precision - %(unsure)s))
  AND greatest(disabled_till, reported_reset_at, full_until, nullif(check_at, 'infinity'), refresh_at, denied_until) > clock_timestamp()

-- fragment: closer
SET open_until = open_until - {{by}}, since = least(since, clock_timestamp()),
    recent = '[]', unreached = '[]', calls = 0, failures = 0
WHERE platform = %(platform)s AND beat_leads(%(epoch)s)

-- name: breakers
-- Breakers of a platform: each is open for as long as it was to be. A breaker takes up nothing that is older than what it knows.
-- Parameters: platform (text), seconds (by which the clock went back), epoch (bigint or null: of the leader).
-- Locks: the breakers, in no order, under the platform's lock, which turns hold.
-- No row: there is none, or the leader was replaced.
UPDATE breaker {{closer}}

-- name: owners_breakers
-- The same of owners' breakers.
-- Parameters: platform (text), seconds (by which the clock went back), epoch (bigint or null: of the leader).
-- Locks: the breakers, in no order, under the platform's lock, which turns hold.
-- No row: there is none, or the leader was replaced.
UPDATE owner_breaker {{closer}}

-- name: deliveries
-- Moves pauses of deliveries by as much as the clock went back, from the nearest to the furthest: each is moved once, since it moves to before the
-- place where the walk is.
-- Parameters: after (epoch seconds: where the walk is), seconds (by which the clock went back), epoch (bigint or null: of the leader),
-- batch (integer).
-- Rows: one; how many were read, and the last one's time (null: none).
-- Locks: the deliveries, by their time; a transaction that changes one meanwhile is waited for, and then the row is left as it is.
-- No row: never.
WITH next AS (
    SELECT d.id, d.next_at FROM webhook_endpoint e CROSS JOIN LATERAL (
        SELECT id, next_at FROM webhook_delivery WHERE endpoint_id = e.id AND state = 'pending' AND lease_until IS NULL
          AND next_at > to_timestamp(%(after)s) ORDER BY next_at LIMIT %(batch)s) d
    WHERE beat_leads(%(epoch)s) ORDER BY d.next_at LIMIT %(batch)s
), moved AS (
    UPDATE webhook_delivery d SET next_at = d.next_at - make_interval(secs => %(seconds)s) FROM next
    WHERE d.id = next.id AND d.state = 'pending' AND d.next_at = next.next_at
)
SELECT count(*) AS read, extract(epoch FROM max(next_at))::double precision AS last FROM next

-- name: endpoints
-- Moves what an endpoint is left alone for. What a receiver asked for stands where it may be of after the step.
-- Parameters: seconds (by which the clock went back), found (epoch seconds: when that was found), unsure (seconds before that within which it
-- may have happened), epoch (bigint or null: of the leader).
-- Rows: one, as of a walk that has come to its end.
-- Locks: the endpoints, in no order.
-- No row: never.
WITH moved AS (
    UPDATE webhook_endpoint SET open_until = open_until - make_interval(secs => %(seconds)s)
    WHERE open_until > clock_timestamp() AND beat_leads(%(epoch)s)
      AND coalesce(last_failure_at > clock_timestamp() OR last_failure_at < to_timestamp(%(found)s::double precision - %(unsure)s), true)
    RETURNING id
)
SELECT 0 AS read, NULL::double precision AS last FROM moved UNION ALL SELECT 0, NULL LIMIT 1
