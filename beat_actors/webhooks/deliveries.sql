-- fragment: due
-- An endpoint, `e`, that may be sent to and has something due. The first delivery in the order of the index is asked for: to look for any
-- at all may mean to read past all that ended.
e.state = 'active' AND {{makers.maker_lives}} AND (e.open_until IS NULL OR e.open_until <= clock_timestamp())
AND (SELECT d.next_at FROM webhook_delivery d WHERE d.endpoint_id = e.id AND d.state = 'pending'
     ORDER BY d.next_at, d.id LIMIT 1) <= (SELECT clock_timestamp())

-- fragment: out
-- Calls that are out, by endpoint and by account. There are as many rows as calls are out.
out AS MATERIALIZED (
    SELECT e.id, coalesce(e.account_id, '') AS account, count(*) AS out
    FROM webhook_delivery d JOIN webhook_endpoint e ON e.id = d.endpoint_id
    WHERE d.lease_until > clock_timestamp() GROUP BY 1, 2
), of_account AS MATERIALIZED (SELECT account, sum(out) AS out FROM out GROUP BY 1)

-- fragment: trips
-- Whether the breaker of an endpoint, `e`, opens because of the failures that `s` sums up.
NOT s.well AND e.failures + s.failed >= %(failures)s AND (e.open_until IS NULL OR e.open_until <= clock_timestamp())

-- name: fan_out
-- Makes deliveries of the next events of the log for the endpoints that want them, in the order of the log. Position and deliveries are written
-- together: an event is handed over once. An account's endpoint gets events of this account alone, and none that is about an owner whose
-- grant the account does not hold.
-- Parameters: limit (integer): events.
-- Rows: one: how many events were looked at; 0 where there is none, or another process holds the position.
-- Locks: the position, for which it does not wait; the new deliveries.
-- No row: never.
WITH position AS (
    SELECT seq FROM webhook_position FOR NO KEY UPDATE SKIP LOCKED
), places AS MATERIALIZED (
    SELECT l.* FROM position p CROSS JOIN LATERAL (SELECT seq, id, at, backfill FROM event_log WHERE seq > p.seq ORDER BY seq LIMIT %(limit)s) l
), made AS (
    INSERT INTO webhook_delivery (endpoint_id, event_id, type, data, occurred_at, next_at, expires_at)
    SELECT e.id, b.event_id, b.type, b.data, b.at, clock_timestamp(), clock_timestamp() + interval '24 hours'
    FROM places l JOIN event b ON b.id = l.id AND b.at = l.at AND NOT l.backfill JOIN webhook_endpoint e
        ON e.state <> 'disabled' AND b.at >= e.created_at
       AND (e.account_id IS NULL OR e.account_id = b.account_id AND (b.owner = '' OR EXISTS (
           SELECT FROM owner_grant g WHERE g.account_id = b.account_id AND g.platform = b.data->>'platform' AND g.owner = b.owner)))
       AND EXISTS (SELECT FROM unnest(e.events) w WHERE w = b.type OR (right(w, 1) = '*' AND starts_with(b.type, left(w, -1))))
    ORDER BY l.seq
    ON CONFLICT (endpoint_id, event_id) DO NOTHING
), moved AS (
    UPDATE webhook_position SET seq = (SELECT max(seq) FROM places) WHERE EXISTS (SELECT FROM places)
)
SELECT count(*) AS events FROM places

-- name: look
-- Whether any of the other statements finds something to do: one statement in the place of five. Late deliveries are asked for in the order
-- of their index.
-- Rows: `Look`, one.
-- Locks: none.
-- No row: never.
SELECT EXISTS (SELECT FROM webhook_endpoint WHERE state = 'active') AS active,
       EXISTS (SELECT FROM event_pending WHERE id > (SELECT floor FROM event_sequence)) AS pending,
       (SELECT p.seq < s.seq FROM webhook_position p, event_sequence s) AS news,
       coalesce((SELECT expires_at FROM webhook_delivery WHERE state = 'pending' ORDER BY expires_at LIMIT 1) <= clock_timestamp(), false)
           AS late,
       EXISTS (SELECT FROM webhook_endpoint e WHERE {{due}}) AS due

-- name: candidates
-- Endpoints with due deliveries and room, those of the accounts with the fewest calls out first. An account is locked before its deliveries
-- are counted and claimed; `claim` is a statement of its own, so that it sees what another process claimed.
-- Parameters: failures (integer) after which an endpoint gets one call at a time, per_endpoint, per_account (integer): calls that may be
-- out, limit (integer): endpoints.
-- Rows: their ids.
-- Locks: an advisory lock for each account until the transaction ends. It waits for none: a locked account is left to the process that has
-- it.
-- No row: nothing is due, there is no room, or other processes have the accounts.
WITH {{out}}, due AS (
    SELECT e.id, coalesce(e.account_id, '') AS account, row_number() OVER (PARTITION BY e.account_id ORDER BY random()) AS turn
    FROM webhook_endpoint e LEFT JOIN out o ON o.id = e.id
    WHERE {{due}} AND coalesce(o.out, 0) < CASE WHEN e.failures >= %(failures)s THEN 1 ELSE %(per_endpoint)s END
), fair AS MATERIALIZED (
    SELECT due.id, account FROM due LEFT JOIN of_account a USING (account)
    WHERE coalesce(a.out, 0) < %(per_account)s ORDER BY coalesce(a.out, 0) + due.turn, random() LIMIT %(limit)s
), accounts AS MATERIALIZED (SELECT DISTINCT account FROM fair), locked AS MATERIALIZED (
    SELECT account FROM accounts WHERE pg_try_advisory_xact_lock(hashtext('beat.webhooks.account'), hashtext(account))
)
SELECT fair.id FROM fair JOIN locked USING (account)

-- name: claim
-- Claims the oldest deliveries of each endpoint, and of those one after the other by account, beginning with the accounts that have the
-- fewest calls out. An endpoint that has failed too often in a row gets one probe; its other deliveries wait for the probe's outcome.
-- Parameters: endpoints (bigint[]): those that `candidates` gave, failures, per_endpoint, per_account (integer) as there, limit (integer):
-- deliveries, lease (double precision): seconds.
-- Rows: `Claimed`. `attempt` is the claim's fence.
-- Locks: the deliveries. Their accounts are locked by `candidates`, so that no other process claims them.
-- No row: nothing is due any more.
WITH {{out}}, room AS (
    SELECT e.id, coalesce(e.account_id, '') AS account,
           greatest(CASE WHEN e.failures >= %(failures)s THEN 1 ELSE %(per_endpoint)s END - coalesce(o.out, 0), 0) AS room
    FROM webhook_endpoint e LEFT JOIN out o ON o.id = e.id WHERE e.id = ANY(%(endpoints)s) AND e.state = 'active'
), due AS (
    SELECT d.id, d.request_id, room.account, row_number() OVER (PARTITION BY room.id ORDER BY d.next_at, d.id) AS turn
    FROM room CROSS JOIN LATERAL (
        SELECT id, next_at, CASE WHEN starts_with(type, 'beat.scrape_request.') THEN (data->>'id')::bigint
            WHEN type = 'beat.data.changed' THEN (data->>'request_id')::bigint END AS request_id FROM webhook_delivery
        WHERE endpoint_id = room.id AND state = 'pending' AND next_at <= (SELECT clock_timestamp()) AND expires_at > clock_timestamp()
        ORDER BY next_at, id LIMIT room.room) d
), ranked AS (
    SELECT id, request_id, account, row_number() OVER (PARTITION BY account ORDER BY turn, id) AS nth FROM due
), fair AS MATERIALIZED (
    SELECT id, request_id FROM (SELECT ranked.id, ranked.request_id, coalesce(a.out, 0) + ranked.nth AS place FROM ranked LEFT JOIN of_account a USING (account)) r
    WHERE place <= %(per_account)s ORDER BY place, id LIMIT %(limit)s
)
UPDATE webhook_delivery d SET attempt = attempt + 1, next_at = clock_timestamp() + make_interval(secs => %(lease)s),
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
FROM fair LEFT JOIN LATERAL (
    SELECT r.id, r.created_at, r.retry_count AS runs, r.trace FROM scrape_request_log r
        WHERE r.id = fair.request_id AND r.trace IS NOT NULL OFFSET 0) r ON true,
    -- An array, and a state in a form that no index has, so that the rows are found by their ids.
    webhook_endpoint e WHERE d.id = ANY(ARRAY(SELECT id FROM fair)) AND d.id = fair.id AND e.id = d.endpoint_id AND d.state || '' = 'pending'
    AND d.next_at <= clock_timestamp()
RETURNING d.id, d.attempt, d.attempt - d.resent_after AS tries, d.endpoint_id, d.event_id, d.type, d.data, d.occurred_at, e.url, e.key_id, e.secret,
    CASE WHEN e.old_until > clock_timestamp() THEN e.old_key_id END AS old_key_id, e.old_secret,
    extract(epoch FROM clock_timestamp())::bigint AS at, r.id AS request_id, r.created_at, r.runs, r.trace

-- name: lock
-- Locks the endpoints whose outcomes are written next.
-- Parameters: endpoints (bigint[]).
-- Rows: the ids of those that exist.
-- Locks: the endpoints, in the order of their ids.
-- No row: all of them were deleted.
SELECT id FROM webhook_endpoint WHERE id = ANY(%(endpoints)s) ORDER BY id FOR NO KEY UPDATE

-- name: settle
-- Writes down how claimed deliveries went, and what follows for their endpoints. While its breaker is open, the end of the cooldown decides when an
-- endpoint is tried again: a failed probe says nothing about its delivery, whose own delay does not grow and which is due at that time. All other
-- delays are the delivery's own, and a success of another delivery does not shorten them. The fence is `attempt`.
-- Parameters: outcomes (jsonb): objects with the fields that `o` names, failures (integer) in a row after which an endpoint cools down, cooldowns
-- (double precision[]): seconds of the first cooldown, the second and so on.
-- Rows: `Settled`, one for each endpoint of which an outcome was written.
-- Locks: the deliveries; the endpoints, which `lock` has locked.
-- No row: other processes took all these deliveries over.
WITH said AS (
    SELECT o.*, e.failures >= %(failures)s AND NOT o.delivered AS probe
    FROM jsonb_to_recordset(%(outcomes)s::jsonb) AS o(
        id bigint, attempt integer, endpoint_id bigint, delivered boolean, gone boolean, status integer, error text,
        delay double precision, pause double precision) JOIN webhook_endpoint e ON e.id = o.endpoint_id
), outcome AS (
    SELECT *, clock_timestamp() + make_interval(secs => CASE WHEN probe THEN pause ELSE delay END) AS again FROM said
), settled AS (
    UPDATE webhook_delivery d SET lease_until = NULL, status = o.status, error = o.error,
        state = CASE WHEN o.delivered THEN 'delivered' WHEN o.gone OR o.again >= d.expires_at THEN 'failed' ELSE 'pending' END,
        ended_at = CASE WHEN o.delivered OR o.gone OR o.again >= d.expires_at THEN clock_timestamp() END,
        next_at = o.again, resent_after = d.resent_after + o.probe::integer
    FROM outcome o WHERE d.id = ANY(ARRAY(SELECT id FROM outcome)) AND d.id = o.id AND d.attempt = o.attempt AND d.state || '' = 'pending'
        AND d.lease_until IS NOT NULL
    RETURNING d.endpoint_id, o.delivered, o.gone, o.error, o.pause
), sum AS (
    SELECT endpoint_id, bool_or(delivered) AS well, bool_or(gone) AS gone, count(*) FILTER (WHERE NOT delivered)::integer AS failed,
           max(error) FILTER (WHERE NOT delivered) AS error, max(pause) AS pause
    FROM settled GROUP BY 1
)
UPDATE webhook_endpoint e SET
    state = CASE WHEN s.gone THEN 'disabled' ELSE e.state END,
    failures = CASE WHEN s.well THEN 0 ELSE e.failures + s.failed END,
    trips = CASE WHEN s.well THEN 0 WHEN {{trips}} THEN e.trips + 1 ELSE e.trips END,
    open_until = CASE WHEN s.well AND s.pause = 0 THEN NULL ELSE greatest(
        CASE WHEN s.pause > 0 THEN clock_timestamp() + make_interval(secs => s.pause) END,
        CASE WHEN {{trips}} THEN clock_timestamp() + make_interval(secs => (%(cooldowns)s::double precision[])
            [least(e.trips + 1, cardinality(%(cooldowns)s::double precision[]))]) ELSE e.open_until END) END,
    last_success_at = CASE WHEN s.well THEN clock_timestamp() ELSE e.last_success_at END,
    last_failure_at = CASE WHEN s.failed > 0 THEN clock_timestamp() ELSE e.last_failure_at END,
    last_error = CASE WHEN s.failed > 0 THEN s.error WHEN s.well THEN NULL ELSE e.last_error END
FROM sum s WHERE e.id = s.endpoint_id
RETURNING e.id, s.gone

-- name: late
-- Ends deliveries that no endpoint took within 24 h.
-- Parameters: limit (integer).
-- Locks: the deliveries, those that expired first in front; it waits for none.
-- No row: none is late.
UPDATE webhook_delivery SET state = 'failed', ended_at = clock_timestamp(), lease_until = NULL,
    error = coalesce('not accepted within 24 h; last: ' || error, 'not sent within 24 h: the endpoint was paused or its breaker was open')
WHERE id = ANY(ARRAY(SELECT id FROM webhook_delivery
    WHERE state = 'pending' AND expires_at <= (SELECT clock_timestamp()) AND coalesce(lease_until <= clock_timestamp(), true)
    ORDER BY expires_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED))

-- name: refused
-- Ends what waits for endpoints that want nothing any more. What is out ends with its own outcome.
-- Parameters: endpoints (bigint[]).
-- Locks: the deliveries; their endpoints are locked by `lock`.
-- No row: nothing waits.
UPDATE webhook_delivery SET state = 'failed', ended_at = clock_timestamp(), error = 'the endpoint said 410: it is disabled'
WHERE endpoint_id = ANY(%(endpoints)s) AND state = 'pending' AND lease_until IS NULL

-- name: forget
-- Deletes deliveries that ended long ago, those that ended first in front.
-- Parameters: days (integer), epoch (bigint): the leader's, NULL: no leader is asked for, limit (integer).
-- Locks: the deliveries.
-- No row: none is old enough, or another leads by now.
DELETE FROM webhook_delivery WHERE id = ANY(ARRAY(
    SELECT id FROM webhook_delivery WHERE state <> 'pending' AND ended_at < (SELECT clock_timestamp() - make_interval(days => %(days)s))
      AND beat_leads(%(epoch)s) ORDER BY ended_at LIMIT %(limit)s))
